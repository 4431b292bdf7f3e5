"""One try of a call on a worker: from the record of the try before to the end, or to the triggerer."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.call import Call, Mode
from airflow_provider_apitask.core.callback import alone
from airflow_provider_apitask.core.durable import (
    Record,
    as_waiting,
    begin,
    can_resend,
    may_run,
    still_unseen,
)
from airflow_provider_apitask.core.errors import ApiTaskError, JobCancelledError, StorageError
from airflow_provider_apitask.core.events import Event
from airflow_provider_apitask.core.messages import Failure, NetworkFailure, Purpose, Request, Response
from airflow_provider_apitask.core.operation import Done, Inbound, Operation
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import storable
from airflow_provider_apitask.drivers.blocking import BlockingTransport, BriefWait, drive
from airflow_provider_apitask.drivers.body import Sink
from airflow_provider_apitask.hooks.api import ApiHook
from airflow_provider_apitask.operators.callbacks import Callbacks
from airflow_provider_apitask.operators.journal import Journal
from airflow_provider_apitask.operators.output import Output
from airflow_provider_apitask.operators.storing import Storing
from airflow_provider_apitask.oplog import Account
from airflow_provider_apitask.oplog.account import with_id
from airflow_provider_apitask.triggers.kill import reason_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.api import Api

__all__ = ["CallRun"]

log = logging.getLogger(__name__)

#: Airflow ends the process 5 seconds after it was told to stop.
_KILL_SECONDS = 4.0


class CallRun:
    """Drives one call, keeps its record, and cancels its job when the task is killed.

    :param call: the call, its templates rendered.
    :param hook: of the connection.
    :param context: of the task.
    :param report: takes what is worth a line in the log.
    :param output: takes the result, where it goes to a storage.
    :param on_link: takes the link to the job, when it becomes known.
    :param account: takes what is done, for the operation log.
    """

    def __init__(
        self,
        call: Call,
        hook: ApiHook,
        context: Context,
        report: Callable[[Event], None],
        output: Output | None = None,
        on_link: Callable[[str], None] = lambda link: None,
        account: Account | None = None,
    ) -> None:
        self.call = call
        self.last: Inbound | None = None
        self._hook = hook
        self._context = context
        self._report = report
        self._storing = Storing(call, output) if output is not None else None
        self._on_link = on_link
        self._link: str | None = None
        self._account = account or Account(context["ti"], hook.api_conn_id)
        self._journal = self._new_journal()
        self._callbacks = Callbacks(context) if call.callback is not None else None
        self._operation: Operation | None = None
        self._resumed = False
        #: Why the job is to be cancelled, once the task is known to be killed.
        self._killed: str | None = None
        #: How the call ended when a kill has cancelled its job.
        self._cancelled: Done | None = None
        self._timed_out = False
        #: Held by the one cancel that a run makes.
        self._killing = threading.Lock()

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self.operation.state

    @property
    def operation(self) -> Operation:
        """The operation, once it has begun."""
        if self._operation is None:
            raise RuntimeError("the run has not begun")
        return self._operation

    @property
    def killed(self) -> bool:
        """Whether a person has ended the task: the call is not to be gone on with."""
        return self._killed is not None or self._cancelled is not None

    @property
    def api(self) -> Api:
        """The API of the connection."""
        return self._hook.api

    def transport(self) -> BlockingTransport:
        """Open a session to the API; a context manager that closes it."""
        return self._hook.transport()

    def redact(self, *secrets: str) -> None:
        """Take what the author put into the request out of every text."""
        self._hook.api.redactor.add(*secrets)

    def redacted(self, error: ApiTaskError) -> ApiTaskError:
        """The error without the secrets of connection and author."""
        return error.redacted(self._hook.api.redactor)

    # -- the ways to begin -------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a try: with what the one before left, or from nothing."""
        record = self._record()
        generation = self._journal.generation if self._journal is not None else 0
        if record is not None and not (self._storing and self._storing.continues(record, generation)):
            record = replace(record, state=replace(record.state, paging=None))
        start = begin(record, self.call, generation)
        if start.stale is not None:
            self._cancel_stale(start.stale)
        self._operation = self._new_operation(start=replace(start.move, state=with_id(start.move.state)))
        if (event := self._operation.first_event) is not None:
            self._report(event)

    def resume(self, state: State, answer: Response | None = None) -> None:
        """Go on where the triggerer left it.

        :param answer: the answer that holds the result, where it was handed over.
        """
        self._resumed = True
        self._operation = self._new_operation(with_id(state), answer=answer)
        if self._callbacks is not None:
            self._callbacks.resume(state)
            if self.call.callback_url is not None and state.callback_id is not None:
                self.call.callback_url(state.callback_id)  # for the masker of this process

    def _new_operation(self, state: State | None = None, call: Call | None = None, **more: Any) -> Operation:
        ledger = self._account.ledger()
        return Operation(
            call or self.call, self._hook.api, state, jitter=random.random, ledger=ledger, **more
        )

    # -- running -----------------------------------------------------------------------------

    def submit(self, transport: BlockingTransport) -> None:
        """Run until the job is submitted, or that of an earlier try was looked at."""
        self._drive(
            transport,
            lambda state: state.phase not in (Phase.SUBMIT, Phase.RECONCILE) and not still_unseen(state),
        )

    def poll_before_deferral(self, transport: BlockingTransport) -> None:
        """Poll for ``job.defer_after`` seconds; once only, a task that has resumed defers again at once."""
        if self._resumed:
            return
        sleep = None if self._callbacks is None else self._sleep
        wait = BriefWait(self.call.job.defer_after, sleep)
        self._drive(transport, lambda state: wait.over or not state.phase.waiting, wait.sleep)

    def called_back(self, transport: BlockingTransport) -> None:
        """Take the callbacks that have come, and confirm them by one poll if the job can be polled."""
        taken = self._callbacks is not None and self._callbacks.take(self.operation, self._report)
        if not taken and not self._resumed:  # what the trigger received may not be stored
            return
        polls = self.state.polls
        waits = alone(self.call, self.state)
        self._drive(transport, lambda state: waits or not state.phase.waiting or state.polls > polls)

    @property
    def stays(self) -> bool:
        """Whether only this process can follow the job, as what it received is not stored; says so."""
        if storable(self.state, self.call.job) == self.state:
            return False
        log.warning(
            "The server gave a signed URL or a credential for this job. It is not stored, so the task waits "
            "on the worker instead of deferring. To free the worker slot, configure job.status_request and "
            "job.result_request with endpoints that the connection's credentials open."
        )
        return True

    def finish(self, transport: BlockingTransport) -> Any:
        """Run until the end and return the result.

        :raises ApiTaskError: where it did not succeed.
        """
        done = self._drive(transport, lambda state: False)
        if self._cancelled is not None:
            done = self._cancelled
        elif self._killed is not None:
            done = self.cancel(self._killed) or done
        if done is None and self.killed:
            raise JobCancelledError("The task was ended before its job was submitted.")
        if done is None:
            raise RuntimeError("the operation stopped without an end")
        if done.error is not None:
            self._discard()
            raise done.error
        if self._storing is None:
            return done.value
        try:
            return self._storing.stored(self.operation)
        except StorageError as error:
            raise self.redacted(error) from None

    def _discard(self) -> None:
        if self._storing is not None:
            self._storing.discard()

    def _drive(
        self,
        transport: BlockingTransport,
        stop: Callable[[State], bool],
        sleep: Callable[[float], None] | None = None,
    ) -> Done | None:
        def send(request: Request) -> Inbound:
            submit = request.purpose is Purpose.SUBMIT
            sent = False

            def sending() -> None:
                nonlocal sent
                if submit and (self.call.mode is Mode.ASYNC or self._sent_once):
                    self._intend()
                sent = True

            wanted = request.purpose is Purpose.RESULT or (submit and self.call.mode is Mode.SYNC)
            streamed = wanted and self._storing is not None and self.call.pagination is None
            try:
                self.last = transport.send(
                    request,
                    sending,
                    self._open_sink if streamed else None,
                    self.operation.observe,
                )
            except StorageError as error:
                self.last = self.redacted(error if self._storing is None else self._storing.judged(error))
            except Exception as error:
                if not (submit and sent):
                    raise
                # The server may have processed the request, whatever failed afterwards.
                log.exception("The submission ended with an unexpected error.")
                self.last = NetworkFailure(Failure.UNEXPECTED, repr(error), possibly_received=True)
            return self.last

        def until(state: State) -> bool:
            if self._callbacks is not None and not state.phase.ended:
                self._callbacks.expect(state)
            if self._storing is not None:
                self._store_page(self._storing)
            self._show_link(state.link)
            if self._journal is not None:
                # Pages that are in memory alone are gone with it.
                self._journal.note(state if self.call.stored else replace(state, paging=None))
            # Who has ended the task wants neither another submit nor to wait.
            return stop(state) or (self.killed and (state.phase.waiting or state.phase is Phase.SUBMIT))

        try:
            return drive(self.operation, send, until=until, on_event=self._report, sleep=sleep or self._sleep)
        except BaseException:
            self._discard()
            raise

    def _open_sink(self, answer: Response) -> Sink | None:
        return None if self._storing is None else self._storing.sink_for(answer, self.state)

    def _store_page(self, storing: Storing) -> None:
        try:
            storing.store_page(self.operation)
        except StorageError as error:
            raise self.redacted(error) from None

    # -- callbacks ---------------------------------------------------------------------------

    def _sleep(self, seconds: float) -> None:
        if self._callbacks is None or not self.state.phase.waiting:
            time.sleep(seconds)
        else:
            self._callbacks.sleep(seconds, self.operation, self._report)

    def forget_callbacks(self, *, good: bool = False) -> None:
        """Take no callbacks any more, where the call has ended.

        :param good: whether the task has its result.
        """
        if self._callbacks is not None and self.state.phase.ended:
            self._callbacks.end(self.state, good=good)

    def _show_link(self, link: str | None) -> None:
        if link is not None and link != self._link:
            self._link = link
            self._on_link(link)

    # -- the record --------------------------------------------------------------------------

    @property
    def _sent_once(self) -> bool:
        """Whether this is a synchronous request whose effect a resend would repeat."""
        call = self.call
        return call.mode is Mode.SYNC and not can_resend(call.request.method, call.idempotency)

    def _new_journal(self) -> Journal | None:
        """Return the journal of a call that a later try can resume or must not repeat; None for any other."""
        call = self.call
        journal = Journal(self._context, call.job, eager=call.mode is Mode.ASYNC)
        stores_pages = self._storing is not None and call.pagination is not None
        # Writing takes time, and without retries only a Clear follows, which sends the request anyway.
        needed = call.mode is Mode.ASYNC or stores_pages or (self._sent_once and journal.generation > 0)
        return journal if needed else None

    def _intend(self) -> None:
        self.operation.intend(time.time())
        if self._journal is not None:
            self._journal.intend(self.operation.state)

    def _record(self) -> Record | None:
        if self._journal is None:
            return None
        if not self._journal.lasts and self.call.mode is Mode.ASYNC:
            self._warn_once()
        return self._journal.read()

    def _warn_once(self) -> None:
        """Say what is not guaranteed on an Airflow that keeps no state of a task."""
        key = self.call.idempotency
        safe = can_resend(self.call.request.method, None if key is None or key.per_try else key)
        if self._journal is not None and self._journal.generation and not safe:
            log.warning(
                "This Airflow keeps no state of a task (3.3 does): a retry after this process was killed "
                "does not find the job again, and submits another one. An idempotency_key that the server "
                "knows prevents that."
            )

    # -- cancelling --------------------------------------------------------------------------

    def cancel(self, reason: str, state: State | None = None) -> Done | None:
        """Cancel the job, where it runs and its author wants that.

        With a session of its own: that of the call may be in the middle of a request.

        :param reason: one of ``job.CANCEL_REASONS``.
        :param state: where the job stands; by default as this run knows.
        :returns: how the call ended; None where there was nothing to cancel.
        """
        operation = self._new_operation(state or self.state)
        event = operation.cancel(reason)
        if event is None:
            if (left := operation.leave(reason)) is not None:
                self._report(left)
            return None
        self._report(event)
        with self._hook.transport() as transport:
            done = drive(operation, _telling(transport, operation), on_event=self._report)
        if self._journal is not None:
            self._journal.note(operation.state)
        return done

    def end(self) -> None:
        """Somebody wants the call to end: once its submit is answered, its job is cancelled."""
        self._killed = "kill"

    def time_out(self) -> None:
        """``execution_timeout`` is over."""
        self._timed_out = True
        if self._operation is not None and self._killing.acquire(blocking=False):
            self.cancel("timeout")
            self._account.emit()

    def time_out_deferred(self, left: State | None) -> None:
        """``execution_timeout`` was over while the task was deferred.

        :param left: where the job stood, as far as its handle says; the record knows better.
        """
        try:
            record = self._journal.read() if self._journal is not None else None
        except Exception as error:  # noqa: BLE001 - the handle will do
            log.warning("The record of the job could not be read: %r", error)
            record = None
        if record is not None and self._journal is not None and record.generation == self._journal.generation:
            left = record.state
        if left is not None:
            self.cancel("timeout", left)

    def kill(self) -> None:
        """Cancel the job if a user ended the task; the process is about to stop.

        In a thread, as this may interrupt anything, such as a message to Airflow that holds a lock.
        """
        if self._timed_out or self._journal is None:
            return
        target = self._kill if self.call.mode is Mode.ASYNC else self._note_clear
        thread = threading.Thread(target=target, name="apitask-cancel", daemon=True)
        thread.start()
        thread.join(_KILL_SECONDS)

    def _kill(self) -> None:
        if not self._killing.acquire(blocking=False):
            return  # another one is at it, or was
        try:
            reason = reason_of(self._task_state())
            if reason is None:
                log.info("The process is told to stop, its task is not ended: the job goes on.")
                return
            state = self._operation.state if self._operation is not None else None
            if reason == "clear" and self._journal is not None:
                self._journal.clear(state)
            if state is not None and state.phase.waiting:
                self._cancelled = self.cancel(reason, state)
            else:
                self._killed = reason  # before or while the submit is under way: cancelled afterwards
        except Exception:
            log.exception("The job could not be cancelled")
        finally:
            if not self.killed:
                self._killing.release()
            # Nobody may come to do it later.
            self._account.emit(interrupted=True)

    def _note_clear(self) -> None:
        """Record that a user cleared the running task, so that its next try sends the request again."""
        try:
            if self._journal is not None and reason_of(self._task_state()) == "clear":
                self._journal.clear(self._operation.state if self._operation is not None else None)
        except Exception:
            log.exception("The state of the task could not be read, so a Clear is not recorded.")

    def _task_state(self) -> str | None:
        ti: Any = self._context["ti"]
        states = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        return next(iter(states.get(ti.run_id, {}).values()), None)

    def _cancel_stale(self, state: State) -> None:
        """Cancel the job of before a Clear, if it still runs; a failure does not hold up the new one."""
        # It is looked at once, whatever its limits: they would end it without a cancel.
        call = replace(self.call, job=replace(self.call.job, max_polls=None))
        stale = self._new_operation(replace(with_id(state), deadline_at=None), call)
        with self._hook.transport() as transport:
            send = _telling(transport, stale)
            if not alone(call, state):
                drive(stale, send, until=lambda now: now.polls > state.polls, on_event=self._report)
                if may_run(stale.state):
                    # The check may have failed, for example by a refused credential, and says nothing.
                    stale.state = as_waiting(stale.state)
            if (event := stale.cancel("clear")) is not None:
                self._report(event)
                drive(stale, send, on_event=self._report)


def _telling(transport: BlockingTransport, operation: Operation) -> Callable[[Request], Inbound]:
    """Sends, and tells the operation of each request."""
    return partial(transport.send, observe=operation.observe)
