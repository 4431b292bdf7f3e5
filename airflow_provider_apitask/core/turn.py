"""What a reading rule is given, and what it answers.

Each phase has one rule: a function that takes a :class:`Turn` and returns a :class:`Move`. Rules
change nothing: :class:`~airflow_provider_apitask.core.operation.Operation` makes the move.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_provider_apitask.core.advice import with_remedy
from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.errors import ApiTaskError, ResponseTooLargeError
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
from airflow_provider_apitask.core.problem import describe
from airflow_provider_apitask.core.retry import retry_after
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import StatusWords
from airflow_provider_apitask.core.status_codes import code_in

__all__ = ["Move", "Turn", "ended", "failed", "handle_data", "job_error", "job_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request that was sent and what came of it.

    :param state: where the call stood when the request was sent.
    :param now: Unix time.
    :param jitter: a random number from 0 to 1.
    :param doubt: since when an *earlier* send of the same submit may have been taken; None for none.
    """

    call: Call
    api: Api
    words: StatusWords
    state: State
    request: Request
    inbound: Response | NetworkFailure
    now: float
    jitter: float
    doubt: float | None = None
    #: Of the responses that were read, by ``id``: each is parsed once.
    _readings: dict[int, Reading] = field(default_factory=dict, repr=False, compare=False)

    @property
    def code(self) -> int | None:
        """The HTTP code of the answer, None where there is none."""
        return self.inbound.status if isinstance(self.inbound, Response) else None

    @property
    def is_final(self) -> bool:
        """Whether the author said that this code will never change to a better one."""
        return self.code is not None and code_in(self.code, self.call.job.final_status_codes or ())

    @property
    def is_rejected(self) -> bool:
        """Whether the author says that this code means that a submission was not accepted."""
        return self.code is not None and code_in(self.code, self.call.rejected_status_codes)

    @property
    def described(self) -> str:
        """What was tried and what came back: one sentence without its full stop."""
        redact = self.api.redactor.text
        said = describe(self.request, self.inbound, redact, self._document)
        return with_remedy(said, self.request, self.inbound, self.api)

    @property
    def asked_wait(self) -> float | None:
        """Seconds that the server asked to wait, None where it did not."""
        return retry_after(self.inbound.headers, self.now) if isinstance(self.inbound, Response) else None

    def _document(self, response: Response) -> Any:
        try:
            return self.reading(response).document
        except ResponseTooLargeError:
            return None

    def reading(self, response: Response) -> Reading:
        """Return the reading of a response, the same one each time."""
        reading = self._readings.get(id(response))
        if reading is None:
            bounded = self.call.for_triggerer
            reading = Reading(self.request, response, self.api.redactor.text, bounded=bounded)
            self._readings[id(response)] = reading
        return reading

    def at(self, state: State) -> Self:
        """The same turn from another state."""
        return replace(self, state=state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What an answer leads to.

    :param state: where the call stands now.
    :param event: worth a line in the log; None for a quiet poll.
    :param error: why the call has ended, or will when its job is cancelled; without an event it makes one.
    :param answer: the answer that holds the result, or may hold it.
    :param value: the result.
    :param page: what a page of the result contributes to it.
    """

    state: State
    event: Event | None = None
    error: ApiTaskError | None = None
    answer: Response | None = None
    value: Any = None
    page: list[Any] | None = None


def ended(state: State, phase: Phase, error: ApiTaskError) -> Move:
    """The end of a call that did not succeed."""
    return Move(state=state.at(phase, next_at=None), error=error)


def failed(state: State, error: ApiTaskError) -> Move:
    """The end by an error that knows nothing of the job yet."""
    return ended(state, Phase.FAILED, error if state.job_id is None else error.with_data(job_id=state.job_id))


def handle_data(state: State) -> dict[str, Any]:
    """What identifies the job, for events and errors."""
    return {"job_id": state.job_id, "status": state.status, "status_url": state.status_url}


def job_error(kind: type[ApiTaskError], state: State, message: str, **data: Any) -> ApiTaskError:
    """An error that says which job it is about."""
    return kind(message, **{**handle_data(state), **data})


def job_name(state: State) -> str:
    """The job as the subject of a sentence."""
    return f"Job {state.job_id}" if state.job_id is not None else "The job"
