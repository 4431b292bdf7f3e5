"""The trigger that waits for a job on the triggerer."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_apitask.core.checks import rendered
from airflow_provider_apitask.core.errors import ApiTaskError, ConnectionFieldError
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.storable import storable
from airflow_provider_apitask.oplog import aemit, triggerer

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api
    from airflow_provider_apitask.core.call import Call
    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.ledger import Ledger
    from airflow_provider_apitask.core.messages import Request
    from airflow_provider_apitask.core.operation import Inbound, Operation
    from airflow_provider_apitask.hooks.clients import ClientPool
    from airflow_provider_apitask.triggers.progress import Progress
    from airflow_provider_apitask.triggers.resume_guard import ResumeGuard

__all__ = ["ApiStatusTrigger"]

#: Seconds between tries to look the connection up, while Airflow itself cannot answer.
_LOOKUP_RETRY = 10.0
_DRIVER = "airflow_provider_apitask.drivers.event_loop"
#: Cancel requests under way, whose triggers are gone: the event loop itself keeps no task alive.
_cancelling: set[asyncio.Task[None]] = set()


class ApiStatusTrigger(BaseTrigger):
    """Waits until a job has ended, or nothing more can be learned about it.

    Only arguments that are JSON and hold no secret: they are stored in Airflow's database. After a
    restart of the triggerer the trigger goes on from them; the deadline in ``state`` is absolute.

    :param api_conn_id: connection of the API.
    :param state: where the job stands, see ``core.state.State.to_dict``.
    :param job: the ``AsyncJob`` as a dict.
    :param timeout: seconds of one request, or (connect, read).
    :param csrf_endpoint: where a CSRF token is fetched, see ``core.call.Call``.
    :param max_response_bytes: longest body that is read.
    :param since: Unix time at which the task was deferred.
    :param callback: the ``Callback`` as a dict, where the service calls back.
    :param guard: seconds after the deferral in which there is no event, see ``resume_guard``.
    """

    #: Where the job stands, once this process waits for it.
    _operation: Operation | None = None
    _progress: Progress | None = None
    _guard: ResumeGuard | None = None
    #: Whether it was looked for callbacks, and there were any.
    _looked = False
    _called = False
    #: Of what it does, for the operation log.
    _ledger: Ledger | None = None

    def __init__(
        self,
        *,
        api_conn_id: str,
        state: dict[str, Any],
        job: dict[str, Any] | None = None,
        timeout: Any = None,
        csrf_endpoint: str | None = None,
        max_response_bytes: int | None = None,
        since: float | None = None,
        callback: dict[str, Any] | None = None,
        guard: float = 0.0,
    ) -> None:
        # Nothing is checked here: what a trigger's constructor raises takes the triggerer down.
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's **kwargs has no annotation
        self.api_conn_id = api_conn_id
        self.state = state
        self.job = job
        self.timeout = timeout
        self.csrf_endpoint = csrf_endpoint
        self.max_response_bytes = max_response_bytes
        self.since = since
        self.callback = callback
        self.guard = guard

    @classmethod
    def of(cls, call: Call, api_conn_id: str, state: State) -> Self:
        """The trigger that goes on with a call.

        :param call: of which the job matters, and not what only its submit needs.
        """
        from airflow_provider_apitask.core.portable import pack
        from airflow_provider_apitask.triggers.handover import plain_json
        from airflow_provider_apitask.triggers.resume_guard import guard_seconds

        return cls(
            api_conn_id=api_conn_id,
            state=plain_json(storable(state, call.job).to_dict()),
            job=plain_json(pack(replace(call.job, reconcile=None).to_dict())),
            timeout=plain_json(call.timeout),
            csrf_endpoint=call.csrf_endpoint,
            max_response_bytes=call.max_response_bytes,
            since=time.time(),
            callback=None if call.callback is None else plain_json(call.callback.to_dict()),
            guard=guard_seconds(),
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "api_conn_id": self.api_conn_id,
                "state": self.state,
                "job": self.job,
                "timeout": list(self.timeout) if isinstance(self.timeout, tuple) else self.timeout,
                "csrf_endpoint": self.csrf_endpoint,
                "max_response_bytes": self.max_response_bytes,
                "since": self.since,
                "callback": self.callback,
                "guard": self.guard,
            },
        )

    def __repr__(self) -> str:
        # Not the arguments: headers of a status request are among them.
        job_id = self.state.get("job_id") if isinstance(self.state, dict) else None
        return f"<{type(self).__name__} conn={self.api_conn_id!r} job={job_id!r}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the job has ended; yields one event that carries the state, when the task can resume."""
        from airflow_provider_apitask.triggers.handover import event_of
        from airflow_provider_apitask.triggers.resume_guard import ResumeGuard

        # dag.test() has no scheduler, and gives no task instance.
        guard = self._guard = ResumeGuard(self.guard if self.task_instance is not None else 0.0, self.since)
        try:
            try:
                with rendered():
                    state = await self._wait()
            except ApiTaskError as error:
                state = self._failed(error)
            await guard.wait()
        except BaseException:
            if self._ledger is not None:
                triggerer.interrupted(self._ledger)
            raise
        records = self._ledger.take() if self._ledger is not None else []
        if self._ledger is not None:
            triggerer.ended(self._ledger, records)
        if self._operation is not None:
            state = storable(state, self._operation.call.job)
        left = self._progress is not None and self._progress.left
        yield TriggerEvent(event_of(state, left, records))

    async def on_kill(self) -> None:
        """Cancel the job, or say that it goes on, where a person has ended the task (Airflow 3.3).

        Airflow gives this a second: what takes longer goes on by itself.
        """
        task = asyncio.create_task(self._cancel_job())
        _cancelling.add(task)
        task.add_done_callback(_cancelling.discard)

    async def _wait(self) -> State:
        await _client_imported()
        from airflow_provider_apitask.hooks.clients import pool_of_this_loop

        pool = pool_of_this_loop()
        async with pool.hold():
            operation = self._operation = await self._begun(pool)
            return await self._drive(operation, pool)

    async def _begun(self, pool: ClientPool) -> Operation:
        """The operation, from the arguments and what an earlier run of this trigger has kept."""
        from airflow_provider_apitask.core.call import Call, Mode
        from airflow_provider_apitask.core.callback_spec import Callback
        from airflow_provider_apitask.core.job import AsyncJob
        from airflow_provider_apitask.core.ledger import Ledger
        from airflow_provider_apitask.core.operation import Operation
        from airflow_provider_apitask.core.portable import unpack
        from airflow_provider_apitask.oplog.account import new_id, owner_of, with_id
        from airflow_provider_apitask.triggers.progress import Progress

        await pool.turn()
        call = Call(
            mode=Mode.ASYNC,
            job=AsyncJob.parse(unpack(self.job)),
            timeout=self.timeout,
            csrf_endpoint=self.csrf_endpoint,
            max_response_bytes=self.max_response_bytes,
            callback=None if self.callback is None else Callback.parse(self.callback),
            for_triggerer=True,
        )
        state = State.from_dict(self.state)
        api = await self._first_api(pool, call.job.status_grace)
        self._progress = Progress(self.task_instance, call.job, self.since)
        state = await self._progress.restored(state)
        await pool.turn()
        ledger = self._ledger = Ledger(owner_of(self.task_instance, self.api_conn_id), new_id)
        triggerer.began(ledger)
        return Operation(call, api, with_id(state), jitter=random.random, ledger=ledger)

    async def _drive(self, operation: Operation, pool: ClientPool) -> State:
        from airflow_provider_apitask.core.pacing import spread_check
        from airflow_provider_apitask.drivers.event_loop import drive
        from airflow_provider_apitask.triggers.handover import push_answer, push_link

        jitter = random.random()  # noqa: S311 - it spreads requests, and guards nothing
        operation.state = spread_check(operation.call.job, operation.state, time.time(), pool.holders, jitter)

        # Of the worker that has deferred the task, which has shown it.
        shown = State.from_dict(self.state).link

        async def sleep(seconds: float) -> None:
            nonlocal shown
            if operation.state.link not in (None, shown):
                shown = operation.state.link
                await push_link(self.task_instance, shown)
            if self._progress is not None:
                await self._progress.keep(operation.state)
            await self._sleep(seconds, operation)

        await drive(
            operation,
            partial(self._send, pool, operation),
            # What has come is for a worker.
            until=lambda state: self._called or state.needs_worker or not state.phase.for_triggerer,
            on_event=self._report,
            sleep=sleep,
        )
        if operation.state.inline and operation.answer is not None:
            await push_answer(self.task_instance, operation.answer, operation.api.redactor)
        return operation.state

    async def _sleep(self, seconds: float, operation: Operation) -> None:
        """Wait; check once for a callback, when the route of callbacks wakes the task itself from then on."""
        from airflow_provider_apitask.triggers.callbacks import LOOK_AFTER_SECONDS, called

        if self.callback is None or self._guard is None or self._looked:
            await asyncio.sleep(seconds)
            return
        if (left := self._guard.seconds_left(after=LOOK_AFTER_SECONDS)) > 0:
            await asyncio.sleep(min(seconds, left))
            return
        self._looked = True
        self._called = await called(self.task_instance, operation.state)

    async def _send(self, pool: ClientPool, operation: Operation, request: Request) -> Inbound:
        await pool.turn()
        async with pool.use(self.api_conn_id) as client:
            # What comes back is redacted with the credentials that went along.
            operation.api = client.api
            inbound = await client.transport.send(request, operation.observe)
        await pool.turn()
        return inbound

    async def _cancel_job(self) -> None:
        await _client_imported()  # it may not have come to that
        from airflow_provider_apitask.core.callback import alone
        from airflow_provider_apitask.drivers.event_loop import drive
        from airflow_provider_apitask.hooks.clients import pool_of_this_loop
        from airflow_provider_apitask.triggers.callbacks import has_ended
        from airflow_provider_apitask.triggers.kill import atask_state, reason_of

        pool = pool_of_this_loop()
        try:
            async with pool.hold():
                reason = reason_of(await atask_state(self.task_instance))
                if reason is None:
                    self.log.info("The trigger is told to stop, its task is not ended: the job goes on.")
                    return
                # It may have been killed while it looked its connection up.
                operation = self._operation or await self._begun(pool)
                if (left := operation.leave(reason)) is not None:
                    self._report(left)
                    return
                send = partial(self._send, pool, operation)
                # Another triggerer may have seen the job end, and its task with it: it is asked for once.
                operation.state = replace(operation.state, next_at=None)
                polls = operation.state.polls
                if not alone(operation.call, operation.state):
                    await drive(
                        operation,
                        send,
                        until=lambda state: not state.phase.waiting or state.polls > polls,
                        on_event=self._report,
                    )
                elif await has_ended(self.task_instance, operation.state):
                    return
                if event := operation.cancel(reason):
                    self._report(event)
                await drive(
                    operation,
                    send,
                    until=lambda state: state.phase is not Phase.CANCEL,
                    on_event=self._report,
                )
                if operation.ledger is not None:
                    records = operation.ledger.take()
                    triggerer.ended(operation.ledger, records)
                    # No worker comes after it.
                    await aemit(records)
                    triggerer.drain_soon()
        except Exception:
            self.log.exception("The job could not be cancelled")

    async def _first_api(self, pool: ClientPool, patience: float) -> Api:
        """The API; where Airflow cannot tell the connection just now, the job is waited for all the same.

        A missing connection and an API server that is down look alike from a triggerer.

        :param patience: seconds before that counts as final.
        :raises ConnectionFieldError: then, or where the connection cannot be used.
        """
        waited = 0.0
        while True:
            try:
                async with pool.use(self.api_conn_id) as client:
                    return client.api
            except ApiTaskError:
                raise
            except Exception as error:
                what = f"The connection {self.api_conn_id!r} could not be looked up: {error!r}"
                if waited >= patience:
                    raise ConnectionFieldError(
                        f"{what}, for {waited:.0f} s. The job may still be running on the server.",
                        conn_id=self.api_conn_id,
                        field="conn_id",
                    ) from error
                self.log.warning("%s. Tried again for up to %.0f s.", what, patience - waited)
            wait = min(_LOOKUP_RETRY, patience - waited)
            await asyncio.sleep(wait)
            waited += wait

    def _failed(self, error: ApiTaskError) -> State:
        """The state of a job that cannot be waited for; what was known of it is kept where it can be read."""
        try:
            known = State.from_dict(self.state)
        except ApiTaskError:
            known = State()
        return known.at(Phase.FAILED, error=error.to_dict())

    def _report(self, event: Event) -> None:
        self.log.info("%s", event.message)


async def _client_imported() -> None:
    """Import the HTTP client, once: in a thread, as others cannot be kept waiting for so long."""
    if _DRIVER not in sys.modules:
        await asyncio.to_thread(_import_client)


def _import_client() -> None:
    import airflow_provider_apitask.drivers.event_loop
    import airflow_provider_apitask.hooks.clients  # noqa: F401
    from airflow_provider_apitask.core.extraction import compile_path
    from airflow_provider_apitask.core.job import DEFAULT_STATUS_PATHS

    compile_path(DEFAULT_STATUS_PATHS[0])  # builds the parser of paths at its first use
