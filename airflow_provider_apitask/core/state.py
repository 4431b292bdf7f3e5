"""Where a call stands: plain JSON that crosses from worker to triggerer and back.

Never in here: a credential, a cookie, a request header, a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from airflow_provider_apitask.core.checks import shown
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.portable import pack, unpack

__all__ = ["STATE_VERSION", "Phase", "State"]

STATE_VERSION = 1


class Phase(StrEnum):
    """Where a call stands."""

    SUBMIT = "submit"
    RECONCILE = "reconcile"
    POLL = "poll"
    POLL_GRACE = "poll_grace"
    EXPLAIN = "explain"
    CANCEL = "cancel"
    FETCH = "fetch"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    SUBMIT_UNKNOWN = "submit_unknown"

    @property
    def ended(self) -> bool:
        """Whether nothing comes after this phase."""
        return self not in _OPEN

    @property
    def waiting(self) -> bool:
        """Whether the job runs on the server and is waited for."""
        return self in (Phase.POLL, Phase.POLL_GRACE)

    @property
    def for_triggerer(self) -> bool:
        """Whether a triggerer goes on in this phase; in any other it hands over to a worker."""
        return self.waiting or self in (Phase.EXPLAIN, Phase.CANCEL)


_OPEN = frozenset(
    {
        *(Phase.SUBMIT, Phase.RECONCILE, Phase.POLL, Phase.POLL_GRACE),
        *(Phase.EXPLAIN, Phase.CANCEL, Phase.FETCH),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a call stands. Times are Unix seconds.

    :param job_id: what identifies the job to people.
    :param values: parts of earlier answers that later requests need, by name or path.
    :param status_url: monitor URL that the server gave; None where the author configured one.
    :param result_url: location of the result, where the server gave one.
    :param status: the last status word.
    :param progress: how far the job is, as the server says it.
    :param message: what the job is doing, as the server says it.
    :param link: where people can look at the job.
    :param told_at: when a line in the log said how far the job is.
    :param untold: whether the progress has moved since.
    :param submitted_at: when the server accepted the job.
    :param deadline_at: when the job counts as timed out.
    :param next_at: when the next request is due.
    :param as_of: when the other times were last known to agree with the wall clock.
    :param polls: status checks so far.
    :param attempts: requests of this phase that did not succeed, since the last good one.
    :param failing_since: when the checks began to fail.
    :param not_found: status checks in a row to which the API returned 404, after ``not_found_grace``.
    :param not_found_since: when the first of them was made.
    :param inline: the result is (in) the last status answer.
    :param succeeded: the server said that the job succeeded, so that only its result is missing.
    :param error: how the call ended, see :meth:`ApiTaskError.to_dict`; while the job is being
        cancelled, what for.
    :param idempotency_key: of the submit.
    :param cause: why a lookup is needed, in sentences: what came of the submission.
    :param intent_at: when a submit was sent of which it is not known whether it was taken.
    :param searches: how often a search has found that there is no job.
    :param submission: jobs before this one of the same task whose end is known.
    :param reattached: the job was started by an earlier try, and no check of this one was good yet.
    :param cancel: why the job was cancelled by this package, one of ``job.CANCEL_REASONS``.
    :param operation_id: of the logical call in the operation log, see ``records.OperationRecord``.
    :param paging: how far the pages of the result have been read, see ``pagination.Paging``.
    :param callback_id: what the callback of this submit is known by; its URL is signed besides.
    :param needs_worker: a status response is too large for a triggerer, so that a worker polls.
    :param called_back: callbacks that were taken so far.
    """

    phase: Phase = Phase.SUBMIT
    job_id: str | int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    status_url: str | None = None
    result_url: str | None = None
    status: Any = None
    progress: Any = None
    message: Any = None
    link: str | None = None
    told_at: float | None = None
    untold: bool = False
    submitted_at: float | None = None
    deadline_at: float | None = None
    next_at: float | None = None
    as_of: float | None = None
    polls: int = 0
    attempts: int = 0
    failing_since: float | None = None
    not_found: int = 0
    not_found_since: float | None = None
    inline: bool = False
    succeeded: bool = False
    error: dict[str, Any] | None = None
    idempotency_key: str | None = None
    cause: str | None = None
    intent_at: float | None = None
    searches: int = 0
    submission: int = 0
    reattached: bool = False
    cancel: str | None = None
    paging: dict[str, Any] | None = None
    operation_id: str | None = None
    callback_id: str | None = None
    called_back: int = 0
    needs_worker: bool = False

    def __repr__(self) -> str:
        return f"<State {self.phase} job={self.job_id!r} status={self.status!r} polls={self.polls}>"

    @property
    def said(self) -> tuple[Any, Any, Any]:
        """What the server said of the job, for people: its status, progress and message."""
        return self.status, self.progress, self.message

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON, with its version; what is at its default is left out."""
        kept = {name: value for name in _DEFAULTS if (value := getattr(self, name)) != _DEFAULTS[name]}
        return {"version": STATE_VERSION, **pack(kept), "phase": self.phase.value}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read a state.

        :raises ParameterError: for one of another version, or what is no state at all.
        """
        given: Any = record
        version = given.get("version") if isinstance(given, Mapping) else None
        if version != STATE_VERSION:
            raise _no_state(f"its version is {shown(version)}")
        known = {name: unpack(value) for name, value in given.items() if name in _DEFAULTS}
        for name, value in known.items():
            allowed = _TYPES.get(name, (object,))
            if not isinstance(value, allowed) or (
                isinstance(value, bool) and not {bool, object} & {*allowed}
            ):
                raise _no_state(f"its {name} is {shown(value)}")
        try:
            phase = Phase(given.get("phase"))
        except ValueError:
            raise _no_state(f"its phase is {shown(given.get('phase'))}") from None
        return cls(**{**known, "phase": phase, "values": dict(known.get("values") or {})})

    def at(self, phase: Phase, **changes: Any) -> Self:
        """The state with this phase and these changes."""
        return replace(self, phase=phase, **changes)

    def shifted(self, seconds: float) -> Self:
        """The state after the wall clock was set: waits last as long as before, the deadline stays."""
        moved = {name: at + seconds for name in _WAITED_FROM if (at := getattr(self, name)) is not None}
        return replace(self, **moved)


#: Fields of a state with their defaults.
_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(State)} | {"values": {}}
#: Times that waits count from.
_WAITED_FROM = ("told_at", "submitted_at", "next_at", "failing_since", "not_found_since", "intent_at")
_SECONDS = (int, float, type(None))
#: What a state may hold, for one that comes from a database or an XCom; not named: any JSON.
_TYPES: dict[str, tuple[type, ...]] = {
    "job_id": (str, int, type(None)),
    "values": (dict,),
    "status_url": (str, type(None)),
    "result_url": (str, type(None)),
    "link": (str, type(None)),
    "told_at": _SECONDS,
    "untold": (bool,),
    "submitted_at": _SECONDS,
    "deadline_at": _SECONDS,
    "next_at": _SECONDS,
    "as_of": _SECONDS,
    "failing_since": _SECONDS,
    "not_found": (int,),
    "not_found_since": _SECONDS,
    "polls": (int,),
    "attempts": (int,),
    "inline": (bool,),
    "succeeded": (bool,),
    "error": (dict, type(None)),
    "idempotency_key": (str, type(None)),
    "cause": (str, type(None)),
    "intent_at": _SECONDS,
    "searches": (int,),
    "submission": (int,),
    "reattached": (bool,),
    "cancel": (str, type(None)),
    "paging": (dict, type(None)),
    "operation_id": (str, type(None)),
    "callback_id": (str, type(None)),
    "called_back": (int,),
    "needs_worker": (bool,),
}


def _no_state(why: str) -> ParameterError:
    return ParameterError(
        f"This is no state of a call in version {STATE_VERSION}: {why[:200]}.", parameter="state"
    )
