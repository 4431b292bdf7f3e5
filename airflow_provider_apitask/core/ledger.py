"""What a call did, kept as it happens, and made into one record per operation.

Drivers tell of each request that they sent, and the operation of each answer that it has read. In
between things are counted only; texts are redacted and records made when an operation is over:

=============  ====================================================================================
``invoke``     the submit, with its repetitions within this process
``reconcile``  the search for a job whose submit got no answer
``poll``       all status checks of this process together, and the request for why a job failed
``result``     a page of the result, or the result; ``download`` where it goes to a storage
``cancel``     the cancel request, with its repetitions
``login``      each request for a token, a session or a CSRF token
=============  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_provider_apitask.core.call import Call, Handling
from airflow_provider_apitask.core.cancel import is_cancelled
from airflow_provider_apitask.core.errors import ApiTaskError, ResponseValidationError
from airflow_provider_apitask.core.messages import NetworkFailure, Purpose, Request, Response, Transmission
from airflow_provider_apitask.core.problem import status_line
from airflow_provider_apitask.core.records import OperationRecord, OperationStatus, Owner, Subtype
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.state import Phase, State

__all__ = ["Entry", "Ledger"]

_BY_PURPOSE = {
    Purpose.SUBMIT: Subtype.INVOKE,
    Purpose.RECONCILE: Subtype.RECONCILE,
    Purpose.POLL: Subtype.POLL,
    Purpose.RESULT: Subtype.RESULT,
    Purpose.CANCEL: Subtype.CANCEL,
    Purpose.LOGIN: Subtype.LOGIN,
    Purpose.CSRF: Subtype.LOGIN,
}
#: What a request would have been for, where none could be made.
_BY_PHASE = {
    Phase.SUBMIT: Subtype.INVOKE,
    Phase.RECONCILE: Subtype.RECONCILE,
    Phase.POLL: Subtype.POLL,
    Phase.POLL_GRACE: Subtype.POLL,
    Phase.EXPLAIN: Subtype.POLL,
    Phase.FETCH: Subtype.RESULT,
    Phase.CANCEL: Subtype.CANCEL,
}
#: Longest id or status word, characters.
_LONGEST_WORD = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of one step of a call.

    :param sent: None where nothing was sent: the answer was there, or the request could not be made.
    :param before: where the call stood when it was sent.
    :param after: where it stands now.
    :param error: why it has ended, where it has.
    :param now: Unix time.
    """

    call: Call
    sent: Request | None
    inbound: Response | NetworkFailure | ApiTaskError | None
    before: State
    after: State
    error: ApiTaskError | None
    now: float


@dataclass(slots=True)
class _Open:
    """An operation under way: counts, and the last request."""

    record_id: str
    started_at: float
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    request: Request | None = None
    inbound: Any = None
    ended_at: float | None = None

    def add(self, sent: Transmission) -> None:
        self.requests += 1
        self.retries += sent.resent
        self.bytes_sent += sent.bytes_sent
        self.bytes_received += sent.bytes_received
        self.request, self.inbound, self.ended_at = sent.request, sent.inbound, sent.ended


class Ledger:
    """Gathers the operations of one call in one process.

    :param owner: whose they are.
    :param new_id: makes an id that nobody else has.
    """

    def __init__(self, owner: Owner, new_id: Callable[[], str]) -> None:
        self._owner = owner
        self._new_id = new_id
        self._open: dict[Subtype, _Open] = {}
        self._records: list[OperationRecord] = []
        #: Where the call stands, for the operations that are still open.
        self._last: tuple[State, Redactor] | None = None
        #: Of a call whose state has none: one that an earlier version of this package began.
        self._operation_id: str | None = None

    def observe(self, sent: Transmission, state: State, redactor: Redactor) -> None:
        """Count a request."""
        subtype = _BY_PURPOSE.get(sent.request.purpose)
        if subtype is None:
            return
        if subtype is Subtype.LOGIN:
            login = _Open(self._new_id(), sent.started)
            login.add(sent)
            status = OperationStatus.SUCCESS if _is_given(sent) else OperationStatus.FAILED
            self._records.append(self._record(subtype, login, status, state, redactor, error=None))
            return
        if subtype not in self._open:
            self._open[subtype] = _Open(self._new_id(), sent.started)
        self._open[subtype].add(sent)
        self._last = (state, redactor)

    def enter(self, entry: Entry, redactor: Redactor) -> None:
        """Take what came of a step; where it ends an operation, its record is made."""
        self._last = (entry.after, redactor)
        if entry.sent is None and entry.inbound is None:
            self._enter_inline(entry, redactor)
            return
        subtype = (
            _BY_PURPOSE.get(entry.sent.purpose)
            if entry.sent is not None
            else _BY_PHASE.get(entry.before.phase)
        )
        if subtype is None:
            return
        opened = self._open.get(subtype)
        if opened is None:
            opened = self._open[subtype] = _Open(self._new_id(), entry.now)
        if entry.sent is not None and entry.before.attempts and opened.requests > 1:
            opened.retries += 1
        if isinstance(entry.inbound, ApiTaskError):
            opened.inbound = entry.inbound
        if _ends(subtype, entry):
            self._close(subtype, entry, redactor)

    def overrule(self, error: ApiTaskError) -> None:
        """Take back the success of what gave the result: a function of the author refused it."""
        if self._records:
            self._records[-1] = replace(
                self._records[-1],
                status=OperationStatus.FAILED,
                validation="failed",
                error_kind=error.kind,
                error_message=error.message,
            )

    @property
    def progress(self) -> tuple[int, int]:
        """Changes with each record and each status check."""
        opened = self._open.get(Subtype.POLL)
        return len(self._records), 0 if opened is None else opened.requests

    def so_far(self) -> list[OperationRecord]:
        """The records as they stand, status checks that go on included: a record of the same id follows.

        Another thread may ask for them.
        """
        records, opened = list(self._records), self._open.get(Subtype.POLL)
        if opened is None or self._last is None:
            return records
        state, redactor = self._last
        record = self._record(Subtype.POLL, opened, OperationStatus.RUNNING, state, redactor, error=None)
        return [*records, replace(record, ended_at=None)]

    def take(self, *, interrupted: bool = False) -> list[OperationRecord]:
        """Take the records of what is over; this process does no more of what is open.

        :param interrupted: whether it was stopped in the middle of it.
        """
        for subtype in list(self._open):
            opened, (state, redactor) = self._open.pop(subtype), self._last or (State(), Redactor())
            good = subtype is Subtype.POLL and not state.attempts and not interrupted
            status = OperationStatus.SUCCESS if good else OperationStatus.INTERRUPTED
            if subtype is Subtype.POLL and not interrupted and state.attempts:
                status = OperationStatus.FAILED
            self._records.append(self._record(subtype, opened, status, state, redactor, error=None))
        records, self._records = self._records, []
        return records

    # -- making records ----------------------------------------------------------------------

    def _enter_inline(self, entry: Entry, redactor: Redactor) -> None:
        """The result was in the answer to a status check, maybe of another process."""
        subtype = Subtype.POLL if Subtype.POLL in self._open else Subtype.RESULT
        if subtype is Subtype.RESULT and entry.error is None:
            return
        self._open.setdefault(subtype, _Open(self._new_id(), entry.now, ended_at=entry.now))
        self._close(subtype, entry, redactor)

    def _close(self, subtype: Subtype, entry: Entry, redactor: Redactor) -> None:
        opened = self._open.pop(subtype)
        status = OperationStatus.SUCCESS if _went_well(subtype, entry) else OperationStatus.FAILED
        stored = subtype is Subtype.RESULT and entry.call.stored
        named = Subtype.DOWNLOAD if stored else subtype
        error = entry.error if status is OperationStatus.FAILED else None
        record = self._record(named, opened, status, entry.after, redactor, error)
        self._records.append(replace(record, validation=_validation(entry)))

    def _record(
        self,
        subtype: Subtype,
        opened: _Open,
        status: OperationStatus,
        state: State,
        redactor: Redactor,
        error: ApiTaskError | None,
    ) -> OperationRecord:
        request, inbound = opened.request, opened.inbound
        if isinstance(inbound, ApiTaskError):
            error = error or inbound
        kind, message = (None, None) if error is None else (error.kind, error.message)
        if error is None and status is not OperationStatus.SUCCESS:
            kind, message = _failure(inbound)
        has_lines = error is not None and error.has_lines
        return OperationRecord(
            record_id=opened.record_id,
            operation_id=self._id_of(state),
            subtype=subtype,
            status=status,
            started_at=opened.started_at,
            ended_at=opened.started_at if opened.ended_at is None else opened.ended_at,
            method=request.method if request is not None else None,
            url=redactor.line(redactor.url(request.url)) if request is not None else None,
            http_status=inbound.status if isinstance(inbound, Response) else None,
            job_id=_word(state.job_id, redactor),
            job_status=_word(state.status, redactor),
            requests=opened.requests,
            retries=opened.retries,
            bytes_sent=opened.bytes_sent,
            bytes_received=opened.bytes_received,
            error_kind=kind,
            error_message=None if message is None else redactor.line(message, lines=has_lines),
            **asdict(self._owner),
        )

    def _id_of(self, state: State) -> str:
        if state.operation_id is not None:
            return state.operation_id
        if self._operation_id is None:
            self._operation_id = self._new_id()
        return self._operation_id


def _ends(subtype: Subtype, entry: Entry) -> bool:
    """Whether an operation is over with this answer."""
    before, after = entry.before, entry.after
    if subtype is Subtype.POLL:
        # A result in the answer has still to be looked at.
        open_still = after.phase.waiting or after.phase is Phase.EXPLAIN
        return not open_still and not (after.phase is Phase.FETCH and after.inline)
    if subtype is Subtype.RESULT:
        return after.phase is not Phase.FETCH or not after.attempts
    return after.phase is not before.phase


def _went_well(subtype: Subtype, entry: Entry) -> bool:
    if subtype is Subtype.CANCEL:
        return is_cancelled(entry.inbound)
    if subtype is Subtype.RECONCILE:
        # That there is no job is an answer too, and the submit is sent again.
        return entry.error is None
    if subtype is Subtype.POLL:
        return entry.after.phase in (Phase.FETCH, Phase.SUCCEEDED)
    return entry.after.phase.waiting or entry.after.phase in (Phase.FETCH, Phase.SUCCEEDED)


def _validation(entry: Entry) -> str | None:
    """What the rules of the author said of the answer, None where it was not to be looked at."""
    if isinstance(entry.error, ResponseValidationError):
        return "failed"
    call, page = entry.call, entry.after.paging != entry.before.paging
    if call.validation is None or call.handling is Handling.IGNORE:
        return None
    return "passed" if page or entry.after.phase is Phase.SUCCEEDED else None


def _failure(inbound: Any) -> tuple[str | None, str | None]:
    """What the last answer says of why it did not go well."""
    if isinstance(inbound, NetworkFailure):
        return "request_failed", str(inbound)
    if isinstance(inbound, Response) and not inbound.ok:
        return "request_failed", status_line(inbound)
    return None, None


def _word(value: Any, redactor: Redactor) -> str | None:
    return None if value is None else redactor.line(str(value))[:_LONGEST_WORD]


def _is_given(sent: Transmission) -> bool:
    """Whether the answer gives what a login, or the request for a CSRF token, asks for."""
    response = sent.inbound
    if not isinstance(response, Response):
        return False
    if sent.request.purpose is not Purpose.CSRF or response.status < 400:
        return response.status < 400
    # Servers answer 404 or 405 to the GET and hand out the token all the same.
    asked = [name for name, value in sent.request.headers if value == "Fetch"]
    return any(response.headers.get(name) for name in asked)
