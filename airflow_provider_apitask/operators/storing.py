"""What a call does with its result, where ``output_path`` says where that goes."""

from __future__ import annotations

from typing import Any

from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.durable import Record
from airflow_provider_apitask.core.errors import StorageError
from airflow_provider_apitask.core.messages import Response
from airflow_provider_apitask.core.operation import Operation
from airflow_provider_apitask.core.pagination import Paging
from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.drivers.body import Sink
from airflow_provider_apitask.operators.output import Output

__all__ = ["Storing"]


class Storing:
    """Takes the result of a call to its storage: one answer while it comes, or page by page.

    :param call: whose result it is.
    :param output: of the task instance.
    """

    def __init__(self, call: Call, output: Output) -> None:
        self._call = call
        self._output = output

    def sink_for(self, answer: Response, state: State) -> Sink | None:
        """Where the content of an answer goes; None for one that is not the result, and is read as usual.

        :param answer: of which status and header fields are known.
        :raises StorageError: where it cannot be written.
        """
        not_ready = answer.status == 202 and self._call.mode is Mode.ASYNC and not state.inline
        if not answer.ok or answer.status == 204 or not_ready:
            return None
        return self._output.begin()

    def store_page(self, operation: Operation) -> None:
        """Write what the last page had; of a result without pages, nothing.

        :raises StorageError: where it cannot be written, as it is to be judged.
        """
        if self._call.pagination is None:
            return
        try:
            if items := operation.take_items():
                self._output.write_items(items)
        except StorageError as error:
            raise self.judged(error) from None

    def stored(self, operation: Operation) -> dict[str, Any]:
        """Put the result into its place, and return what refers to it.

        :raises StorageError: where that cannot be done; nothing is in its place then.
        """
        answer, paging = operation.answer, operation.state.paging
        try:
            if paging is not None:
                return self._output.commit(pages=paging["pages"], items=paging["items"])
            if answer is None:
                raise RuntimeError("the operation has succeeded without an answer")
            if answer.stored is None:  # it was in the answer to a status check
                self._output.begin().write(answer.body)
            return self._output.commit(answer.headers.get("Content-Type") or "application/octet-stream")
        except StorageError as error:
            self.discard()
            raise self.judged(error) from None

    def judged(self, error: StorageError) -> StorageError:
        """The error of a result that cannot be stored: another try would do a synchronous call again."""
        again = self._call.mode is Mode.ASYNC or self._call.request.method in IDEMPOTENT_METHODS
        return error if again else error.with_data(retryable=False)

    def continues(self, record: Record, generation: int) -> bool:
        """Whether the pages that an earlier try has stored are still there, to be gone on with.

        :param generation: of this try.
        """
        paging = Paging.of(record.state.paging, self._call.pagination)
        same = record.generation == generation and not record.cleared
        if paging is None or not same or record.state.phase is not Phase.FETCH:
            return False
        return self._output.continues(paging.items)

    def discard(self) -> None:
        """Remove what has been written; nothing of it is in its place."""
        self._output.discard()
