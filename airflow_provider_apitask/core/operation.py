"""THE state machine of an API call.

::

    SUBMIT ─► POLL ⇄ POLL_GRACE ─► FETCH ─► SUCCEEDED
      ⇅  │      └───────┴───────┬────┴────► FAILED │ CANCELLED │ TIMED_OUT │ LOST
      │  └─► FETCH │ SUCCEEDED │└─► CANCEL ─► CANCELLED │ TIMED_OUT
      │      FAILED
    RECONCILE ─► POLL │ SUBMIT_UNKNOWN
    POLL ─► EXPLAIN ─► FAILED, if the job has an error_request

A driver asks :meth:`Operation.step` what to do (send, wait, done), does it, and tells
:meth:`Operation.receive` what came of it. Nothing in here sends, sleeps or looks at a clock, so
worker and triggerer take the same decisions, and a call can go on in another process: all that
is needed is :attr:`Operation.state`.

How an answer is read depends on the phase, and each phase has a module with one rule: ``submit``,
``reconcile``, ``poll`` (also for ``POLL_GRACE``), ``explain``, ``cancel`` and ``result``. A rule is a
function from a ``Turn`` (where the call stood, what was sent, what came) to a ``Move`` (where it stands now,
what to log, why it ended) and changes nothing; :meth:`Operation._make` alone changes the state. Two
more modules are shared by them: ``outcome`` for a job that is over, ``pacing`` for when to ask next.
How a new try of a task begins after one that was killed is decided in ``durable``.

The rules are those of RFC 9110 (redirects, Location, Retry-After, idempotent methods), RFC 9457
(reasons) and of the products that have asynchronous jobs; each is named where it is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

from airflow_provider_apitask.core.answers import Reading
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.call import Call
from airflow_provider_apitask.core.callback import (
    Called,
    alone,
    called_request,
    out_of_time,
    payload_of,
    read_callback,
)
from airflow_provider_apitask.core.cancel import begin_cancel, left_alone, not_cancelled, read_cancel
from airflow_provider_apitask.core.durable import first_state, submit_anew
from airflow_provider_apitask.core.errors import ApiTaskError, OriginError, StorageError, error_from_dict
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.explain import not_explained, read_explain
from airflow_provider_apitask.core.ledger import Entry, Ledger
from airflow_provider_apitask.core.messages import NetworkFailure, Purpose, Request, Response, Transmission
from airflow_provider_apitask.core.next_request import next_request
from airflow_provider_apitask.core.pacing import steady
from airflow_provider_apitask.core.poll import read_poll
from airflow_provider_apitask.core.reconcile import not_reconciled, read_reconcile
from airflow_provider_apitask.core.result import read_result, take_result
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import secret_paths
from airflow_provider_apitask.core.submit import read_submit
from airflow_provider_apitask.core.turn import Move, Turn, failed, handle_data

__all__ = ["Done", "Effort", "Inbound", "Operation", "Send", "Step", "Wait"]

#: What a driver can tell: an answer, none, or that the core itself refused to go on.
Inbound = Response | NetworkFailure | ApiTaskError


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request and tell the answer."""

    request: Request


@dataclass(frozen=True, slots=True)
class Wait:
    """Come back at this Unix time, or earlier, then nothing happens."""

    until: float


@dataclass(frozen=True, slots=True)
class Done:
    """The call has ended.

    :param value: the result, where it succeeded; only the process that read it has it.
    :param error: why it did not.
    """

    value: Any = None
    error: ApiTaskError | None = None


Step = Send | Wait | Done


class Effort(Enum):
    """How much work it is to read a response."""

    #: An event loop can do it.
    LITTLE = "little"
    #: Parsing a long body.
    PARSE = "parse"
    #: Following more than plain paths, or searching by patterns.
    SEARCH = "search"


#: Longest wait for a callback before the deadline is compared with the wall clock again, seconds.
_LONG = 3600.0
#: Longest body that is read on an event loop, bytes: parsing it takes up to 20 ms.
_MAX_LOOP_BYTES = 256 * 1024

#: How an answer is read, by the phase in which the request was sent.
_RULES: dict[Phase, Callable[[Turn], Move]] = {
    Phase.SUBMIT: read_submit,
    Phase.RECONCILE: read_reconcile,
    Phase.EXPLAIN: read_explain,
    Phase.CANCEL: read_cancel,
    Phase.POLL: read_poll,
    Phase.POLL_GRACE: read_poll,
    Phase.FETCH: read_result,
}


class Operation:
    """One API call on its way.

    :param call: what is to be done.
    :param api: where, with which credentials.
    :param state: where an earlier process left it; None for a new call.
    :param start: how a try begins after another one, in place of ``state``.
    :param answer: the answer that holds the result, where ``state`` says that it is inline;
        without it the server is asked for it again.
    :param jitter: gives random numbers from 0 to 1.
    :param ledger: keeps account of what is done, for the operation log.
    """

    def __init__(
        self,
        call: Call,
        api: Api,
        state: State | None = None,
        *,
        start: Move | None = None,
        answer: Response | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        ledger: Ledger | None = None,
    ) -> None:
        self.call = call
        self.api = api
        self.ledger = ledger
        self.state = state if state is not None else first_state(call, 0)
        if self.state.phase is Phase.SUBMIT:
            # A triggerer, which does not know the submit, may have asked for another one.
            first = first_state(call, self.state.submission)
            self.state = replace(
                self.state,
                idempotency_key=self.state.idempotency_key or first.idempotency_key,
                callback_id=self.state.callback_id or first.callback_id,
            )
        #: The answer that accepted the job, then the one that said it is done, then its result.
        self.answer = answer
        #: What there is to tell of how a try begins.
        self.first_event: Event | None = None
        self._jitter = jitter
        self._words = call.job.status_words()
        self._value: Any = None
        #: What the pages of the result had, since it was last taken.
        self._items: list[Any] = []
        self._error: ApiTaskError | None = None
        self._sent: Request | None = None
        self._doubt: float | None = None
        #: The two clocks when they were last looked at, wall and monotonic.
        self._clocks: tuple[float, float | None] | None = None
        #: The payload of the last callback.
        self._called: Response | None = None
        if start is not None:
            self.first_event = self._make(start)

    def step(self, now: float, ticks: float | None = None) -> Step:
        """Say what to do next; asking twice changes nothing.

        :param now: Unix time.
        :param ticks: monotonic time, by which waits last; None if the wall clock is never set.
        """
        self._keep_steady(now, ticks)
        begun = self.state.paging is not None
        if self.state.phase is Phase.FETCH and self.state.inline and self.answer is not None and not begun:
            before = self.state
            self._make(self._inline_result(self.answer))
            self._account(None, None, now, before)
        state = self.state
        if state.phase.ended:
            stored = error_from_dict(state.error) if state.error else None
            paged = self.call.returns_items and state.phase is Phase.SUCCEEDED
            return Done(self._items if paged else self._value, self._error or stored)
        if state.next_at is not None and state.next_at > now:
            return Wait(state.next_at)
        if state.phase.waiting and alone(self.call, state):
            if (over := out_of_time(self.call, state, now)) is None:
                until = now + _LONG
                return Wait(until if state.deadline_at is None else min(until, state.deadline_at))
            self._make(over)
            return self.step(now, ticks)
        try:
            self._sent = next_request(self.call, self.api, state)
        except ApiTaskError as error:
            self._make(_not_sent(state, error))
            self._account(None, error, now, state)
            return Done(error=self._error)
        self._doubt = state.intent_at
        return Send(self._sent)

    def intend(self, now: float) -> None:
        """Note that the submit is being sent: from here on the server may have a job.

        :param now: Unix time.
        """
        if self.state.phase is Phase.SUBMIT and self.state.intent_at is None:
            self.state = replace(self.state, intent_at=now)

    def cancel(self, reason: str) -> Event | None:
        """Turn to cancelling the job, where it runs and its author wants that.

        :param reason: one of ``job.CANCEL_REASONS``.
        :returns: what is worth a line in the log; None where there is nothing to do.
        """
        if not self.state.phase.waiting or not self.call.job.cancels_on(reason):
            return None
        return self._make(begin_cancel(self.state, reason))

    def leave(self, reason: str) -> Event | None:
        """What is worth a line in the log where the job runs and its author does not want it cancelled.

        :param reason: one of ``job.CANCEL_REASONS``.
        """
        if not self.state.phase.waiting or self.call.job.cancels_on(reason):
            return None
        return left_alone(self.state, self.call.job, reason).redacted(self.api.redactor)

    def called_back(self, body: bytes, content_type: str | None, now: float) -> Event | None:
        """Take a callback of the service (rule 20), in the order in which they came.

        :param body: its payload.
        :param content_type: of the payload, None where the service named none.
        :param now: Unix time.
        :returns: what is worth a line in the log; None where the job is not waited for any more.
        """
        if self.call.callback is None or not self.state.phase.waiting:
            return None
        url = self.api.base_url
        self._called = payload_of(body, content_type, url)
        turn = Turn(
            call=self.call,
            api=self.api,
            words=self._words,
            state=replace(self.state, called_back=self.state.called_back + 1),
            request=called_request(url),
            inbound=self._called,
            now=now,
            jitter=self._jitter(),
        )
        try:
            move = read_callback(turn)
        except ApiTaskError as error:
            move = failed(turn.state, error)
        return self._make(move)

    def seconds_left(self, now: float, ticks: float | None = None) -> float:
        """Return how long to wait for the next request; the arguments are those of :meth:`step`."""
        self._keep_steady(now, ticks)
        return max(0.0, (self.state.next_at or now) - now)

    def receive(self, inbound: Inbound, now: float, ticks: float | None = None) -> Event | None:
        """Take the answer to the request that :meth:`step` gave.

        :param now: Unix time.
        :param ticks: monotonic time, see :meth:`step`.
        :returns: what is worth a line in the log.
        :raises RuntimeError: where :meth:`step` gave no request.
        """
        return self.settle(self.judging(inbound, now, ticks)(), inbound, now)

    def settle(self, move: Move, inbound: Inbound, now: float) -> Event | None:
        """Make the move that :meth:`judging` found for a response; the parameters are the same."""
        before = self.state
        event = self._make(move)
        self._account(self._sent, inbound, now, before)
        return event

    def effort(self, inbound: Inbound) -> Effort:
        """Return how much work it is to read a response."""
        if not isinstance(inbound, Response):
            return Effort.LITTLE
        if not self.call.job.follows_plain_paths:
            return Effort.SEARCH
        return Effort.LITTLE if len(inbound.body) <= _MAX_LOOP_BYTES else Effort.PARSE

    def judging(self, inbound: Inbound, now: float, ticks: float | None = None) -> Callable[[], Move]:
        """Return what reads a response: it changes nothing, so that any thread may call it.

        :param now: Unix time.
        :param ticks: monotonic time, see :meth:`step`.
        :raises RuntimeError: if :meth:`step` returned no request.
        """
        if self._sent is None or self.state.phase.ended:
            raise RuntimeError("receive() was called without a request from step().")
        self._keep_steady(now, ticks)
        state = replace(self.state, as_of=now)
        if isinstance(inbound, ApiTaskError):
            if not isinstance(inbound, StorageError):
                # A redirect or a 401 came before it: this submission was not processed.
                state = replace(state, intent_at=self._doubt)
            return partial(_not_sent, state, inbound)
        turn = Turn(
            call=self.call,
            api=self.api,
            words=self._words,
            state=state,
            request=self._sent,
            inbound=inbound,
            now=now,
            jitter=self._jitter(),
            doubt=self._doubt,
        )
        return partial(_judged, turn)

    def _keep_steady(self, now: float, ticks: float | None) -> None:
        """Take notice of a wall clock that was set."""
        last, self._clocks = self._clocks, (now, ticks)
        step = None
        if last is not None:
            then, ticked = last
            step = 0.0 if ticks is None or ticked is None else (now - then) - (ticks - ticked)
        self.state = steady(self.state, self.call.job, now, step)

    def observe(self, transmission: Transmission) -> None:
        """Be told by a driver of each request that it sent, logins and redirects included."""
        if self.ledger is not None:
            self.ledger.observe(transmission, self.state, self.api.redactor)

    def take_items(self) -> list[Any]:
        """Take what the pages of the result had, for a storage; :meth:`step` does not give it then."""
        items, self._items = self._items, []
        return items

    def handle_data(self) -> dict[str, Any]:
        """What identifies the job, for events and errors."""
        return handle_data(self.state)

    def _account(self, sent: Request | None, inbound: Inbound | None, now: float, before: State) -> None:
        if self.ledger is not None:
            entry = Entry(self.call, sent, inbound, before, self.state, self._error, now)
            self.ledger.enter(entry, self.api.redactor)

    def _make(self, move: Move) -> Event | None:
        """Make a move: the only place where the state changes, and where texts are redacted."""
        redactor = self.api.redactor
        move = self._without_secrets(submit_anew(self.call, move) or move)
        if move.state.operation_id is None and self.state.operation_id is not None:
            move = replace(move, state=replace(move.state, operation_id=self.state.operation_id))
        if move.answer is not None:
            self.answer = move.answer
        if move.page is not None and self.call.returns_items:
            self._items += move.page
        state = move.state
        if state.said != self.state.said:
            # For people only: what a server says there may be anything.
            state = replace(
                state,
                status=redactor.data(state.status),
                progress=redactor.data(state.progress),
                message=redactor.data(state.message),
            )
        if move.error is None:
            self.state, self._value = state, move.value
            return move.event.redacted(redactor) if move.event is not None else None
        self._error = move.error.redacted(redactor)
        self.state = replace(state, error=self._error.to_dict())
        if move.event is not None:
            return move.event.redacted(redactor)
        return Event(EventKind.ENDED, self._error.message, self._error.data)

    def _without_secrets(self, move: Move) -> Move:
        """Take out of what is kept of an answer what the server repeated of the credentials (rule 18)."""
        redactor, old, state = self.api.redactor, self.state, move.state
        if (state.job_id, state.values) != (old.job_id, old.values):
            known = old.values
            values = {
                name: value if name in known and known[name] == value else redactor.kept(value)
                for name, value in state.values.items()
            }
            state = replace(state, job_id=redactor.kept(state.job_id), values=values)
            for path in secret_paths(self.call.job):
                if isinstance(secret := values.get(path), str):
                    redactor.learn(secret)
        job = self.call.job
        for name, request in (("status_url", job.status_request), ("result_url", job.result_request)):
            url = getattr(state, name)
            if url is None or url == getattr(old, name):
                continue
            kept: dict[str, Any] = {name: redactor.link(url)}
            state = replace(state, **kept)
            named = request is False or (request is not None and request.endpoint is not None)
            if getattr(state, name) is None and not named and not state.phase.ended:
                shown = redactor.url(url)
                message = (
                    f"The server gave {shown} as a link, with a credential of the connection in its path. "
                    "That would be stored, so it is not followed: say where to ask with "
                    f"job.{name.removesuffix('_url')}_request."
                )
                return failed(state, OriginError(message, url=shown, retryable=False))
        return move if state is move.state else replace(move, state=state)

    def _inline_result(self, answer: Response) -> Move:
        # Another process may have sent the request.
        asked = self._sent or Request(Purpose.POLL, "GET", answer.url)
        kind = Called if answer is self._called else Reading
        return take_result(self.call, self.api, self.state, kind(asked, answer, self.api.redactor.text))


def _judged(turn: Turn) -> Move:
    try:
        return _RULES[turn.state.phase](turn)
    except ApiTaskError as error:
        return failed(turn.state, error)


def _not_sent(state: State, error: ApiTaskError) -> Move:
    """The end by a request that the core itself refused to send."""
    if state.phase is Phase.CANCEL:
        return not_cancelled(state, error)
    if state.phase is Phase.EXPLAIN:
        return not_explained(state, error.message)
    if state.phase is Phase.RECONCILE:
        return not_reconciled(state, error.message)
    return failed(state, error)
