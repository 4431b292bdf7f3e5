"""What a new try of a task does about the job of the try before.

A record is kept where it outlives the task's process: before the submit is sent (the intent), when
the job is known, and when the call has ended. A killed process leaves the last one, and the next
try reads from it where the job stands:

=============================  ====================================================================
the record says                the new try
=============================  ====================================================================
nothing                        submits
a submission with an unknown   resends it if that is safe (the same idempotency key, or an idempotent
outcome                        method), looks the job up (``job.reconcile``), else ends as
                               SUBMIT_UNKNOWN
a job, its end not known       asks for its status: running, it is waited for; succeeded, its result is
                               fetched; failed, another one is submitted
the server said that it        fetches its result, and nothing else
succeeded
the server said that it failed submits another one
the server does not know it    by ``job.on_lost``: asks for it once more before it submits another one
=============================  ====================================================================

Of a synchronous request the intent alone is kept, and only if resending it is unsafe. The intent stays
after a good response: the result is lost with its process, and sending the request again would repeat its
effect. A response that says "not accepted" removes it.

A user's Clear starts another job, and cancels the one of before if that still runs. It is told from
a retry by the *generation*: Airflow raises the number of tries when it clears a task that is not
running, and at no other time. One that runs is ended first, and notes itself that it was cleared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.callback import alone
from airflow_provider_apitask.core.errors import (
    ApiTaskError,
    JobCancelledError,
    JobFailedError,
    JobLostError,
    NothingToFollowError,
    SubmitUnknownError,
    UnknownStatusError,
    error_from_dict,
)
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.reconcile import begin_reconcile
from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import Move, ended, handle_data, job_error, job_name

__all__ = [
    "RECORD_VERSION",
    "Record",
    "Start",
    "as_waiting",
    "begin",
    "can_resend",
    "first_state",
    "is_notable",
    "may_run",
    "still_unseen",
    "submit_anew",
]

RECORD_VERSION = 1
#: Fields of a state that decide what a later try does: before there is a job or a page, and from then on.
_NOTABLE_BEFORE = ("intent_at", "submitted_at", "submission", "paging")
_NOTABLE = (*_NOTABLE_BEFORE, "phase", "job_id", "status_url", "cancel", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is kept of a call.

    :param generation: grows with the Clear of a task that does not run, and is the same for all retries
        in between.
    :param cleared: the task was cleared while it ran.
    """

    generation: int
    state: State
    cleared: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON, with its version."""
        return {
            "version": RECORD_VERSION,
            "generation": self.generation,
            "state": self.state.to_dict(),
            "cleared": self.cleared,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self | None:
        """Read a record; None for what is none, or one of another version.

        :raises ParameterError: where its state cannot be read.
        """
        if not isinstance(record, Mapping) or record.get("version") != RECORD_VERSION:
            return None
        generation = record.get("generation")
        if not isinstance(generation, int):
            return None
        state = State.from_dict(record.get("state", {}))
        return cls(generation=generation, state=state, cleared=record.get("cleared") is True)


@dataclass(frozen=True, slots=True)
class Start:
    """How a try begins.

    :param move: where the call stands, and what to tell of it.
    :param stale: the job of before a Clear, to be cancelled if it still runs.
    """

    move: Move
    stale: State | None = None


def begin(record: Record | None, call: Call, generation: int) -> Start:
    """Decide how a try of a task begins.

    :param record: what an earlier try left, None for nothing.
    :param generation: of this try.
    """
    if record is None:
        return Start(Move(state=first_state(call, 0)))
    if record.cleared or record.generation != generation:
        return _cleared(record, call, record.state.submission + 1 if record.generation == generation else 0)
    if not call.job.reattach:
        return Start(Move(state=first_state(call, record.state.submission + 1)))
    return Start(_go_on(record.state, call))


def _cleared(record: Record, call: Call, submission: int) -> Start:
    """Another job, in the place of the one that the record knows."""
    old, event = record.state, None
    if call.mode is Mode.ASYNC and old.submitted_at is None and old.intent_at is not None:
        told = (
            "The task was cleared while it was not known whether its submit had been taken: that job may run."
        )
        event = Event(EventKind.REATTACHED, told)
    stale = may_run(old) and call.job.cancels_on("clear")
    # Its end is no reason for one more submit.
    waiting = replace(as_waiting(old), reattached=False) if stale else None
    return Start(Move(state=first_state(call, submission), event=event), waiting)


def first_state(call: Call, submission: int) -> State:
    """The state of a call that has still to be submitted.

    :param submission: jobs before this one of the same task whose end is known.
    """
    key = call.idempotency.key(submission) if call.idempotency is not None else None
    seed = call.callback_seed
    callback_id = None if seed is None else f"{seed}.{submission}"
    return State(submission=submission, idempotency_key=key, callback_id=callback_id)


def is_notable(old: State | None, new: State) -> bool:
    """Whether a change must be recorded: what a later try does depends on it.

    :param old: the state that is recorded; None if nothing is.
    """
    if old is None:
        return True
    names = _NOTABLE if new.submitted_at or new.paging or old.paging else _NOTABLE_BEFORE
    return any(getattr(old, name) != getattr(new, name) for name in names)


def can_resend(method: str, key: object) -> bool:
    """Whether a request can be sent again without repeating its effect.

    :param key: by which the server recognizes the request; None without one.
    """
    return key is not None or method in IDEMPOTENT_METHODS


def still_unseen(state: State) -> bool:
    """Whether a job of an earlier try has yet to be asked for; a check that fails counts as seen."""
    return state.reattached and state.phase.waiting and not state.attempts


def submit_anew(call: Call, move: Move) -> Move | None:
    """What follows where the job of an *earlier* try turns out to have ended without success.

    That failure was not reported by any try, so it is not this one's: another job is started, at most
    one by each try.

    :returns: None where the move stands.
    """
    state, error = move.state, move.error
    if not state.reattached or error is None or not _is_over(state, error, call.job.on_lost):
        return None
    told = f"{error.message} It was started by an earlier try of this task: another one is submitted."
    event = Event(EventKind.REATTACHED, told, handle_data(state))
    return Move(state=first_state(call, state.submission + 1), event=event)


def _is_over(state: State, error: ApiTaskError, on_lost: str) -> bool:
    """Whether the job surely does not run any more, and has not succeeded."""
    if isinstance(error, UnknownStatusError):
        return False
    if isinstance(error, JobLostError):
        return on_lost == "submit" or state.cancel is not None
    return isinstance(error, (JobFailedError, JobCancelledError)) and "cancel" not in error.data


def may_run(state: State) -> bool:
    """Whether the job may still run and nobody has cancelled it, as far as the record says."""
    if state.submitted_at is None or state.cancel is not None:
        return False
    if state.succeeded or state.phase in (Phase.SUCCEEDED, Phase.FETCH):
        return False
    return state.error is None or not _is_over(state, error_from_dict(state.error), "fail")


def _go_on(state: State, call: Call) -> Move:
    """The same logical call, in another try."""
    if call.stored and state.paging is not None and state.phase is Phase.FETCH:
        pages = state.paging.get("pages")
        told = f"An earlier try of this task stored the result up to page {pages}; it is gone on with."
        state = state.at(Phase.FETCH, next_at=None, attempts=0, failing_since=None)
        return Move(state=state, event=Event(EventKind.REATTACHED, told, handle_data(state)))
    if state.submitted_at is None:
        if state.intent_at is None:
            # The server refused it, or it was never sent. The key stays: what was refused may be the
            # repetition of one that was taken (409 while that is under way).
            return Move(state=_same_callback(first_state(call, state.submission), state))
        return _unknown(state, call)
    error = error_from_dict(state.error) if state.error is not None else None
    # A lost job is asked for once more: its 404s may have come from a proxy.
    lost = isinstance(error, JobLostError) and state.cancel is None
    if error is not None and not lost and state.phase.ended and _is_over(state, error, call.job.on_lost):
        return Move(state=first_state(call, state.submission + 1))
    waits = alone(call, state)
    if state.status_url is None and not call.job.asks_for_status and state.result_url is None and not waits:
        message = (
            f"{job_name(state)} was started by an earlier try of this task, which has ended; the server does "
            "not say where to ask for it, and job.status_request names no endpoint. It was not started "
            "again: clear the task to do so."
        )
        return ended(state, Phase.FAILED, job_error(NothingToFollowError, state, message))
    waiting = as_waiting(state)
    if (state.succeeded or state.phase is Phase.FETCH) and not (waits and state.inline):
        # Only its result is missing: a job that the server has removed since is not lost.
        state = waiting.at(Phase.FETCH, inline=state.inline)
    else:
        state = replace(waiting, reattached=not waits)
    told = f"{job_name(state)} was started by an earlier try of this task; it is gone on with."
    return Move(state=state, event=Event(EventKind.REATTACHED, told, handle_data(state)))


def _same_callback(state: State, old: State) -> State:
    """The state of a submit that is repeated: what the service was given to call stays good."""
    return state if old.callback_id is None else replace(state, callback_id=old.callback_id)


def as_waiting(state: State) -> State:
    """The state of a job that is to be asked for at once."""
    return state.at(
        Phase.POLL,
        error=None,
        next_at=None,
        attempts=0,
        failing_since=None,
        inline=False,
        paging=None,
        called_back=0,  # what was taken by a process that has ended is taken again
    )


def _unknown(state: State, call: Call) -> Move:
    """Resend a submission whose outcome is unknown, look its job up, or end the call."""
    method = call.request.method
    if call.mode is Mode.SYNC:
        message = (
            f"An earlier try of this task sent the {method} and ended before its result was stored. The "
            f"server may have processed the request: sending the {method} again could repeat its effect, so "
            "it was not sent again. Check on the server whether it took effect, then clear the task to send "
            "it again."
        )
        return ended(state, Phase.SUBMIT_UNKNOWN, SubmitUnknownError(message, method=method))
    told = (
        "An earlier try of this task ended while its submit was under way, so the job may have been started."
    )
    if can_resend(method, state.idempotency_key):
        same = "idempotency key" if state.idempotency_key is not None else f"{method}, which may be repeated"
        again = Event(EventKind.RETRYING, f"{told} It is sent again with the same {same}.")
        # Still in doubt until the server has taken it: another try after this one needs the same key.
        kept = State(
            submission=state.submission,
            idempotency_key=state.idempotency_key,
            intent_at=state.intent_at,
            operation_id=state.operation_id,
        )
        return Move(state=_same_callback(kept, state), event=again)
    if call.job.reconcile is not None:
        return begin_reconcile(replace(state, error=None, reattached=True, attempts=0), None, told)
    message = (
        f"{told} Sending the {method} again could start it twice, so it was not sent again. See on the "
        "server whether it runs, then clear the task; with an idempotency_key or job.reconcile the task "
        "finds out by itself."
    )
    return ended(state, Phase.SUBMIT_UNKNOWN, SubmitUnknownError(message, method=method))
