"""The sensor that waits for a job which another task has started."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_apitask.callables import check_callable, check_hooks
from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.kinds import Pairs, RequestLike, Text, Timeout
from airflow_provider_apitask.links.remote_job import RemoteJobLink, push_link, wants_link
from airflow_provider_apitask.rendering import RendersRequests
from airflow_provider_apitask.sensors.parameters import check_target, quoting_the_author, status_request_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.messages import Response
    from airflow_provider_apitask.core.operation import Operation
    from airflow_provider_apitask.core.records import OperationRecord
    from airflow_provider_apitask.core.state import State
    from airflow_provider_apitask.drivers.blocking import BlockingTransport
    from airflow_provider_apitask.hooks.api import ApiHook
    from airflow_provider_apitask.hooks.watching import Watch
    from airflow_provider_apitask.oplog import Account

__all__ = ["ApiStatusSensor"]

#: Key in Airflow's task state store (3.3) under which the state waits for the next poke.
_STATE_KEY = "api_job_state"


class ApiStatusSensor(RendersRequests, BaseSensorOperator):
    """Waits for a job that another task has started, and returns what the operator would have.

    In each way of waiting (poke, reschedule, deferrable) the same checks decide: a ``Retry-After``
    longer than the interval is obeyed, and checks may go on failing for ``job.status_grace``
    seconds. Between two pokes of mode ``reschedule`` these counts are kept in Airflow's task state
    store; before Airflow 3.3, which has none, that window and ``job.max_polls`` begin anew with each
    poke, and ``timeout`` is what ends the wait.

    :param api_conn_id: connection of type ``apitask`` or ``http``, ``api_default`` by default. A handle of
        a job of another connection is an error.
    :param handle: what an ``ApiCallOperator`` left under the XCom key ``api_job``:
        ``start.output["api_job"]``, or a template that renders to it.
    :param job_id: id of the job if there is no handle: ``{job_id}`` in requests, and what ``job.job_id``
        names. Each ready-made job works with an id alone.
    :param status_request: how to ask for the status if there is no handle: an endpoint such as
        ``/jobs/{job_id}``, or a dict. By default that of ``job``; if that names no endpoint, as the server
        gives the URL, ``job_id`` is that URL or its path, or an id below ``/jobs``.
    :param job: how to follow the job, an ``AsyncJob`` or a dict with its fields. Its ``deadline``
        counts from the submit, so it needs a handle; by default that of the handle holds.
    :param request_timeout: seconds of one request, or (connect, read); by default that of the
        connection, else 30. (``timeout`` is the sensor's own: how long it waits in all.)
    :param max_response_bytes: longest body that is read; 32 MiB by default.
    :param deferrable: wait on the triggerer; by default ``[operators] default_deferrable``.
    :param poke_interval: seconds between checks, 15 by default; when deferred, ``poll_interval``
        of ``job`` comes first. In mode ``reschedule`` at least 10: Airflow fails a task that runs again
        sooner.
    :param response_check: a function of the answer that is the result (a ``requests.Response``) and
        Airflow's context, or the dotted path of one: True (or a ``PokeReturnValue``) where it is what
        is waited for, else the sensor goes on waiting. It is called on the worker, when the job has
        succeeded by its status or conditions; a deferred sensor defers again.
    :param operation_log: who is told of each operation, as of an ``ApiCallOperator``.
    :raises ParameterError: when the DAG is parsed, naming the parameter and what is allowed.
    """

    template_fields: Sequence[str] = ("api_conn_id", "handle", "job_id", "status_request", "job")
    template_fields_renderers = {"handle": "json", "status_request": "json", "job": "json"}  # noqa: RUF012 - Airflow's own way
    operator_extra_links: Collection[BaseOperatorLink] = (RemoteJobLink(),)
    ui_color = "#e6f1f2"
    #: Where people can look at the job, once this process knows.
    job_link: str | None = None
    #: Who watches a test run; None for a task.
    _watch: Watch | None = None

    @quoting_the_author
    def __init__(
        self,
        *,
        api_conn_id: str = "api_default",
        handle: Pairs = None,
        job_id: Text = None,
        status_request: RequestLike = None,
        job: AsyncJob | dict[str, Any] | None = None,
        request_timeout: Timeout = None,
        max_response_bytes: int | None = None,
        deferrable: bool | None = None,
        poke_interval: timedelta | float = 15,
        response_check: Callable[..., Any] | str | None = None,
        operation_log: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        checks.conn_id(api_conn_id)
        self.api_conn_id = api_conn_id
        self.handle = handle
        self.job_id = job_id
        self.status_request = status_request
        self.job = AsyncJob.as_template(job)
        self.request_timeout = checks.timeout(request_timeout, "request_timeout")
        self.max_response_bytes = checks.number(
            max_response_bytes, "max_response_bytes", minimum=1, whole=True
        )
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.response_check = response_check
        check_callable(response_check, "response_check")
        self.operation_log = operation_log
        check_hooks(operation_log)
        self._operation: Operation | None = None
        #: Of the operation: its redactor knows each token that the process has obtained.
        self._kept_hook: ApiHook | None = None
        self._sessions: ExitStack | None = None
        self._transport: BlockingTransport | None = None
        if handle is None and not wants_link(self.job):
            self.operator_extra_links = ()  # no button that leads nowhere
        self._account: Account | None = None
        checks.number(self.poke_interval, "poke_interval", above=True)
        check_target(handle, job_id, status_request, self.job)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Set what all mapped tasks share."""
        if "job" in kwargs:
            kwargs["job"] = AsyncJob.as_template(kwargs["job"])
        return super().partial(**kwargs)

    def execute(self, context: Context) -> Any:
        """Wait for the job, here or on the triggerer."""
        with self._accounting(context), self._session():
            if not self.deferrable:
                return super().execute(context)
            return self._guarded(lambda: self._check_and_defer(context))

    def execute_complete(self, context: Context, event: Any, until: float | None = None) -> Any:
        """Go on when the trigger has seen the job end.

        :param until: Unix time at which the sensor's ``timeout`` is over.
        """
        from airflow_provider_apitask.triggers.handover import records_of_event

        with self._accounting(context, records_of_event(event)), self._session():
            return self._guarded(lambda: self._complete(context, event, until))

    def poke(self, context: Context) -> PokeReturnValue:
        """Check the job once; fetch its result where it has succeeded."""
        return self._guarded(lambda: self._poke(context))  # type: ignore[no-any-return]

    # -- the three ways of waiting -----------------------------------------------------------

    def _poke(self, context: Context) -> PokeReturnValue:
        hook = self._hook()
        if self._operation is None:
            self._operation = self._new_operation(hook, self._stored_state(context) or self._state())
        operation = self._operation
        # Less than a second is no wait: the sensor's own clock and the job's are not the same.
        if operation.state.polls and self._seconds_to_wait() > 1:
            return PokeReturnValue(is_done=False)
        operation.state = replace(operation.state, next_at=None)
        value = self._advance(context, hook, operation)
        if operation.state.phase.waiting:
            self._store_state(context, operation.state)
            return PokeReturnValue(is_done=False)
        said = self._said(context, operation, value)
        if not said.is_done:
            operation.state = self._anew(operation)
            self._store_state(context, operation.state)
        return said

    def _said(self, context: Context, operation: Operation, value: Any) -> PokeReturnValue:
        """What the author's function says of the result."""
        from airflow_provider_apitask.triggers.handover import for_xcom

        if self.response_check is None or operation.answer is None:
            return PokeReturnValue(is_done=True, xcom_value=for_xcom(value))
        from airflow_provider_apitask.callables import asked

        said = asked(self.response_check, operation.answer, context)
        if isinstance(said, PokeReturnValue):
            return said
        return PokeReturnValue(is_done=bool(said), xcom_value=for_xcom(value) if said else None)

    def _anew(self, operation: Operation) -> State:
        """The state of a wait that goes on though the job is done."""
        import time

        interval, now = operation.call.job.poll_interval, time.time()
        state = operation.state
        return replace(
            self._state(),
            polls=state.polls,
            next_at=now + interval,
            as_of=now,
            operation_id=state.operation_id,
        )

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return Airflow's interval, or a longer one that the server or Airflow's resume race asks for."""
        from airflow_provider_apitask.triggers.resume_guard import guard_seconds

        interval: float = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        if self.reschedule:
            interval = max(interval, guard_seconds())
        # A second more than is left, so that the timeout is seen to be over then.
        left = max(0.0, self.timeout - run_duration()) + 1
        return max(interval, min(self._seconds_to_wait(), left))

    def _seconds_to_wait(self) -> float:
        import time

        return 0.0 if self._operation is None else self._operation.seconds_left(time.time(), time.monotonic())

    def _check_and_defer(self, context: Context) -> Any:
        """Poll for ``job.defer_after`` seconds, at least once, then defer."""
        import time

        from airflow_provider_apitask.core.storable import refuse_stored_secrets, storable

        hook = self._hook()
        operation = self._new_operation(hook, self._state())
        refuse_stored_secrets(operation.call.job)
        until = None if self.response_check is None else time.time() + self.timeout
        value = self._advance(context, hook, operation, min(operation.call.job.defer_after, self.timeout))
        if not operation.state.phase.waiting:
            return self._finish(context, hook, operation, value, until)
        if storable(operation.state, operation.call.job) != operation.state:
            self.log.warning("The server gave a signed URL, which is not stored: waiting on the worker.")
            self._operation = operation
            return super().execute(context)
        return self._defer(hook, operation, until)

    def _finish(
        self, context: Context, hook: ApiHook, operation: Operation, value: Any, until: float | None
    ) -> Any:
        """Return the result, or defer once more where the author's function says that it is not there yet."""
        said = self._said(context, operation, value)
        if said.is_done:
            return said.xcom_value
        operation.state = self._anew(operation)
        return self._defer(hook, operation, until)

    def _defer(self, hook: ApiHook, operation: Operation, until: float | None) -> Any:
        import time

        from airflow.sdk.exceptions import TaskDeferralTimeout

        from airflow_provider_apitask.triggers.api_status import ApiStatusTrigger

        left = self.timeout if until is None else until - time.time()
        if left <= 0:
            # Airflow makes of it what soft_fail says.
            raise TaskDeferralTimeout("The sensor's timeout is over.")
        trigger = ApiStatusTrigger.of(operation.call, hook.api_conn_id, operation.state)
        return self.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=timedelta(seconds=left),
            kwargs=None if until is None else {"until": until},
        )

    def _complete(self, context: Context, event: Any, until: float | None) -> Any:
        from airflow_provider_apitask.triggers.handover import take_event

        state, answer = take_event(context, event)
        self.job_link = state.link  # the trigger has shown it
        hook = self._hook()
        operation = self._new_operation(hook, state, answer)
        if state.needs_worker:
            self.deferrable, self._operation = False, operation
            return super().execute(context)
        value = self._advance(context, hook, operation)
        if operation.state.phase.waiting:  # polled once more for a URL that is not stored
            return self._defer(hook, operation, until)
        return self._finish(context, hook, operation, value, until)

    def _accounting(self, context: Context, records: Iterable[OperationRecord] = ()) -> Account:
        """Begin to take account of what is done, for the operation log."""
        from airflow_provider_apitask.oplog import Account

        self._account = Account(context["ti"], self.api_conn_id, self.operation_log, records)
        return self._account

    # -- the parts ---------------------------------------------------------------------------

    def _advance(self, context: Context, hook: ApiHook, operation: Operation, seconds: float = 0.0) -> Any:
        """Poll once, or fetch the result of a job that is done; None while the job runs.

        :param seconds: for which polls follow the first one.
        """
        import time

        from airflow_provider_apitask.core.handle import HANDLE_KEY, handle_of
        from airflow_provider_apitask.drivers.blocking import BriefWait, drive

        polls = operation.state.polls
        wait = BriefWait(seconds)

        def polled(state: State) -> bool:
            return state.phase.waiting and state.polls > polls

        def sleep(seconds: float) -> None:
            (wait.sleep if polled(operation.state) else time.sleep)(seconds)

        with self._opened(hook) as transport:
            done = drive(
                operation,
                partial(transport.send, observe=operation.observe),
                until=lambda state: wait.over and polled(state),
                on_event=self._report,
                sleep=sleep,
            )
        self._show_link(context, operation.state.link)
        if done is None:
            return None
        context["ti"].xcom_push(key=HANDLE_KEY, value=handle_of(operation.state, hook.api_conn_id))
        if done.error is not None:
            raise done.error
        return done.value

    def _show_link(self, context: Context, link: str | None) -> None:
        if link is not None and link != self.job_link:
            self.job_link = link
            push_link(context["ti"], link)

    def _guarded(self, function: Callable[[], Any]) -> Any:
        """Turn a job that did not succeed into what Airflow and ``soft_fail`` make of it."""
        from airflow_provider_apitask.triggers.handover import for_airflow

        try:
            with checks.rendered():
                return function()
        except ApiTaskError as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped, as soft_fail or never_fail is set: {error}") from error
            raise for_airflow(error) from None
        except Exception as error:
            # Airflow sees to it for a poke and after the wait, but not before it.
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, as never_fail is set: {error!r}") from error
            raise

    @contextmanager
    def _session(self) -> Iterator[None]:
        """Keep one session to the API open for all pokes of this process."""
        with ExitStack() as sessions:
            self._sessions = sessions
            try:
                yield
            finally:
                self._sessions = self._transport = None

    @contextmanager
    def _opened(self, hook: ApiHook) -> Iterator[BlockingTransport]:
        if self._sessions is None:  # a poke that is called alone
            with hook.transport() as transport:
                yield transport
            return
        if self._transport is None:
            self._transport = self._sessions.enter_context(hook.transport())
        yield self._transport

    def _hook(self) -> ApiHook:
        """Return the hook, the same for all pokes of this process."""
        if self._kept_hook is None:
            self._kept_hook = self._new_hook()
        return self._kept_hook

    def _new_hook(self) -> ApiHook:
        from airflow_provider_apitask.core.handle import parse_handle
        from airflow_provider_apitask.hooks.api import ApiHook

        conn_id = self.api_conn_id
        checks.conn_id(conn_id)
        named = None if self.handle is None else parse_handle(self.handle).get("api_conn_id")
        if named not in (None, conn_id):
            raise ParameterError(
                f"handle belongs to a job of another connection than {conn_id!r}, which this sensor uses. "
                "Give the sensor the api_conn_id of the task that started the job.",
                parameter="api_conn_id",
            )
        return ApiHook(conn_id) if self._watch is None else self._watch.hook(conn_id)

    def _new_operation(self, hook: ApiHook, state: State, answer: Response | None = None) -> Operation:
        import random

        from airflow_provider_apitask.core.call import Call, Mode
        from airflow_provider_apitask.core.operation import Operation
        from airflow_provider_apitask.oplog.account import with_id

        call = Call(
            mode=Mode.ASYNC,
            job=self._job_to_follow(),
            timeout=self.request_timeout,
            max_response_bytes=self.max_response_bytes,
        )
        hook.api.redactor.add(*call.secrets())
        self.check_reach(hook.api)
        ledger = self._account.ledger(hook.api_conn_id) if self._account is not None else None
        return Operation(call, hook.api, with_id(state), answer=answer, jitter=random.random, ledger=ledger)

    def _job_to_follow(self) -> AsyncJob:
        check_target(self.handle, self.job_id, self.status_request, self.job)
        given = AsyncJob.parse(self.job).to_dict()
        for name in ("cancel_request", "cancel_on", "reconcile"):
            # The sensor has not started the job: it neither cancels nor looks for it.
            given.pop(name, None)
        request = status_request_of(self.handle, self.job_id, self.status_request, self.job)
        if request is not None:
            given["status_request"] = request
        if not self.deferrable:
            # The sensor's own interval decides when the next check is made.
            given["poll_interval"] = self.poke_interval
        elif "poll_interval" not in given:
            given["poll_interval"] = self.poke_interval
            if self.exponential_backoff:
                given.setdefault("poll_factor", 2)
                if self.max_wait:
                    given.setdefault("max_poll_interval", self.max_wait)
        job = AsyncJob.parse(given).compiled()
        return job if self._watch is None else self._watch.job(job)

    def _state(self) -> State:
        """Where the wait begins."""
        from airflow_provider_apitask.core.handle import read_handle
        from airflow_provider_apitask.core.state import Phase, State

        state = State(phase=Phase.POLL) if self.handle is None else read_handle(self.handle)
        if self.job_id is not None:
            # What an earlier response would have said: requests name it as job.job_id does.
            name = AsyncJob.parse(self.job).path_of_job_id
            values = state.values if name is None else {**state.values, name: self.job_id}
            state = replace(state, job_id=self.job_id, values=values)
        deadline = AsyncJob.parse(self.job).deadline
        if deadline is None:
            return state
        if state.submitted_at is None:
            raise ParameterError(
                "job.deadline counts from the submit, and nothing says when that was: give a handle, or use "
                "timeout.",
                parameter="job.deadline",
            )
        return replace(state, deadline_at=state.submitted_at + deadline)

    def _stored_state(self, context: Context) -> State | None:
        """Where the last poke of this try left the job; the store outlives a try, and so may its job."""
        from airflow_provider_apitask.core.state import State

        store = context.get("task_state_store") if self.reschedule else None
        record: Any = store.get(_STATE_KEY) if store is not None else None
        if not isinstance(record, dict) or record.get("try_number") != context["ti"].try_number:
            return None
        return State.from_dict(record["state"])

    def _store_state(self, context: Context, state: State) -> None:
        """Keep the failing checks counted between pokes that run in processes of their own."""
        from airflow_provider_apitask.core.storable import storable
        from airflow_provider_apitask.triggers.handover import plain_json

        store = context.get("task_state_store") if self.reschedule else None
        if store is not None:
            kept = storable(state, self._operation.call.job) if self._operation is not None else state
            record = {"try_number": context["ti"].try_number, "state": plain_json(kept.to_dict())}
            store.set(_STATE_KEY, record)

    def _report(self, event: Event) -> None:
        if self._watch is not None:
            self._watch.event(event)
        else:
            self.log.info("%s", event.message)
