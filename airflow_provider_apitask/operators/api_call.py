"""The operator that calls an API, and sees an asynchronous job through to its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.operators.parameters import (
    check_parameters,
    compiled,
    csrf_endpoint_of,
    mode_of,
    request_of,
)
from airflow_provider_apitask.operators.query_params import CallPartial, TakesQueryParams, renamed

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_apitask.core.call import Call
    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.messages import Request
    from airflow_provider_apitask.core.operation import Inbound, Operation
    from airflow_provider_apitask.core.state import State
    from airflow_provider_apitask.drivers.blocking import BlockingTransport

__all__ = ["ApiCallOperator"]


class ApiCallOperator(BaseOperator, metaclass=TakesQueryParams):
    """Calls an HTTP API; in async mode submits a job once, awaits it, and returns its result.

    Every parameter but numbers and choices is templated. ``{path}`` in the requests of ``job``
    reads an earlier answer of the same call.

    The task returns the JSON (else text) of the answer, for a job its result. The handle of a job
    is in XCom under the key ``api_job``.

    :param api_conn_id: connection of type ``apitask`` or ``http``, ``api_default`` by default.
    :param method: HTTP method, ``POST`` by default.
    :param endpoint: path that is joined to the connection's base URL, or an absolute URL of the
        same origin.
    :param query_params: query parameters, also accepted as ``params``; a list repeats its name,
        None leaves it out. A subclass hands them to ``super().__init__`` as ``query_params``.
    :param headers: header fields; a list repeats its name.
    :param body: what ``body_format`` takes; a file is ``{"path": …}``, see ``RequestSpec``.
    :param body_format: json (default), form, multipart, xml or raw.
    :param timeout: seconds of one request, or (connect, read); by default that of the connection,
        else 30.
    :param mode: ``sync``, the answer is the result; ``async``, the answer tells of a job.
        ``async`` by default where ``job`` is given.
    :param job: how to follow the job, an ``AsyncJob`` or a dict with its fields; without one, by
        the ``Location`` header and its relatives.
    :param wait_for_completion: False ends the task when the job is submitted and returns the
        submit's answer; an ``ApiStatusSensor`` can wait for the job with its handle.
    :param deferrable: wait on the triggerer rather than on the worker; True by default for async
        mode.
    :param retry_count: how often the submit is sent again at most within this try of the task,
        where that is safe; 0 by default. (``retries`` and ``retry_delay`` are Airflow's.)
    :param retry_wait: seconds before the first of these, 1 by default; grows, with jitter; a
        ``Retry-After`` is obeyed.
    :param require_csrf_token: fetch a CSRF token before each unsafe request and send it along, with
        the cookies it came with; False by default. Header and cookie are named by the connection.
    :param csrf_token_endpoint: where the token is fetched; by default the URL of the request itself.
    :param response_path: the part of a synchronous answer that is the result.
    :param max_response_bytes: longest body that is read; 32 MiB by default.
    :raises ParameterError: when the DAG is parsed, naming the parameter and what is allowed.
    """

    template_fields: Sequence[str] = (
        "api_conn_id",
        "method",
        "endpoint",
        "query_params",
        "headers",
        "body",
        "timeout",
        "csrf_token_endpoint",
        "job",
        "response_path",
    )
    template_fields_renderers = {"query_params": "json", "headers": "json", "body": "json", "job": "json"}  # noqa: RUF012 - Airflow's own way
    ui_color = "#d5e8f3"

    def __init__(
        self,
        *,
        api_conn_id: str = "api_default",
        method: str = "POST",
        endpoint: str | None = None,
        query_params: Any = None,
        headers: Any = None,
        body: Any = None,
        body_format: str = "json",
        timeout: Any = None,
        mode: str | None = None,
        job: AsyncJob | dict[str, Any] | None = None,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        retry_count: int = 0,
        retry_wait: float = 1.0,
        require_csrf_token: bool = False,
        csrf_token_endpoint: str | None = None,
        response_path: str | None = None,
        max_response_bytes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.api_conn_id = api_conn_id
        self.method = method
        self.endpoint = endpoint
        self.query_params = query_params
        self.headers = headers
        self.body = body
        self.body_format = body_format
        self.timeout = timeout
        self.mode = mode_of(mode, job)
        self.job = AsyncJob.as_template(job)
        self.wait_for_completion = wait_for_completion
        self.deferrable = _default_deferrable(self.mode) if deferrable is None else deferrable
        self.retry_count = retry_count
        self.retry_wait = retry_wait
        self.require_csrf_token = require_csrf_token
        self.csrf_token_endpoint = csrf_token_endpoint
        self.response_path = response_path
        self.max_response_bytes = max_response_bytes
        check_parameters(vars(self))

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Set what all mapped tasks share; ``params`` are query parameters here too."""
        given = renamed(kwargs)
        if "job" in given:
            given["job"] = AsyncJob.as_template(given["job"])
        return CallPartial.of(super().partial(**given))

    def execute(self, context: Context) -> Any:
        """Send the request; in async mode wait for the job, here or on the triggerer."""
        from airflow_provider_apitask.core.state import State

        return self._run(context, State)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on when the trigger has seen the job end."""
        from airflow_provider_apitask.triggers.handover import state_of_event

        return self._run(context, lambda: state_of_event(event))

    def call(self) -> Call:
        """The call with its rendered parameters, checked whole before anything is sent.

        :raises ParameterError: naming the parameter and what is allowed.
        """
        from airflow_provider_apitask.core.call import Call, Mode
        from airflow_provider_apitask.core.retry import RetryPolicy
        from airflow_provider_apitask.triggers.handover import refuse_stored_secrets

        check_parameters(vars(self))
        if self.response_path is not None:
            compiled(self.response_path, "response_path")
        job = AsyncJob.parse(self.job).compiled()
        if self.mode == "async" and self.deferrable and self.wait_for_completion:
            refuse_stored_secrets(job)
        request = request_of(vars(self))
        return Call(
            request=request,
            mode=Mode(self.mode),
            job=job,
            retry=RetryPolicy(
                count=checks.number(self.retry_count, "retry_count", whole=True),
                delay=checks.number(self.retry_wait, "retry_wait"),
            ),
            response_path=self.response_path,
            timeout=request.timeout,
            csrf_endpoint=csrf_endpoint_of(vars(self)),
            max_response_bytes=checks.number(self.max_response_bytes, "max_response_bytes", whole=True),
        )

    def _run(self, context: Context, start: Callable[[], State]) -> Any:
        """Run the call from the state that ``start`` gives, until it ends or is deferred."""
        import random

        from airflow_provider_apitask.core.operation import Operation
        from airflow_provider_apitask.hooks.api import ApiHook
        from airflow_provider_apitask.triggers.handover import for_airflow, pull_answer

        try:
            state = start()
            hook = ApiHook(self.api_conn_id)
            answer = pull_answer(context) if state.inline else None
            call = self.call()
            hook.api.redactor.add(*_secrets_of(call))
            operation = Operation(call, hook.api, state, answer=answer, jitter=random.random)
            with hook.transport() as transport:
                return self._drive(context, operation, transport)
        except ApiTaskError as error:
            raise for_airflow(error) from None

    def _drive(self, context: Context, operation: Operation, transport: BlockingTransport) -> Any:
        from airflow_provider_apitask.core.state import Phase
        from airflow_provider_apitask.drivers.blocking import drive

        last: list[Inbound] = []

        def send(request: Request) -> Inbound:
            last[:] = [transport.send(request)]
            return last[0]

        drive(operation, send, until=lambda state: state.phase is not Phase.SUBMIT, on_event=self._report)
        if operation.state.phase.waiting:
            self._leave_handle(context, operation.state)
            if not self.wait_for_completion:
                return _submit_value(last[0])
            if self.deferrable:
                self._defer(operation)
        try:
            done = drive(operation, send, on_event=self._report)
        finally:
            self._leave_handle(context, operation.state)
        if done is None:
            raise RuntimeError("the operation stopped without an end")
        if done.error is not None:
            raise done.error
        return done.value

    def _defer(self, operation: Operation) -> NoReturn:
        from airflow_provider_apitask.triggers.api_status import ApiStatusTrigger
        from airflow_provider_apitask.triggers.handover import plain_json

        call = operation.call
        trigger = ApiStatusTrigger(
            api_conn_id=self.api_conn_id,
            state=plain_json(operation.state.to_dict()),
            job=plain_json(call.job.to_dict()),
            timeout=plain_json(call.timeout),
            csrf_endpoint=call.csrf_endpoint,
            max_response_bytes=call.max_response_bytes,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def _leave_handle(self, context: Context, state: State) -> None:
        from airflow_provider_apitask.core.handle import HANDLE_KEY, handle_of

        if self.mode != "async" or state.submitted_at is None:
            return
        try:
            context["ti"].xcom_push(key=HANDLE_KEY, value=handle_of(state, self.api_conn_id))
        except Exception as error:
            if not self.wait_for_completion:
                raise
            # The job runs: it must not be lost over what people read.
            self.log.warning("The job's handle could not be stored in XCom: %r", error)

    def _report(self, event: Event) -> None:
        self.log.info("%s", event.message)


def _default_deferrable(mode: str) -> bool:
    return mode == "async" or conf.getboolean("operators", "default_deferrable", fallback=False)


def _secrets_of(call: Call) -> list[str]:
    """The credentials that the author put into the request: a server may repeat them."""
    from airflow_provider_apitask.core.redaction import is_secret_name
    from airflow_provider_apitask.core.urls import wire_text

    found: list[str] = []
    for fields in (call.request.headers, call.request.params, call.request.body):
        for name, value in fields.items() if isinstance(fields, dict) else ():
            if is_secret_name(str(name)):
                items = value if isinstance(value, (list, tuple)) else [value]
                texts = [wire_text(item) for item in items if isinstance(item, (str, bytes))]
                # With its scheme, and without: "Bearer abc".
                found += [part for text in texts for part in (text, text.rpartition(" ")[2])]
    return found


def _submit_value(inbound: Inbound) -> Any:
    """What the answer to a submit stands for; one that is not what it says is text, as the job runs."""
    from airflow_provider_apitask.core.bodies import decode_text, json_or_text
    from airflow_provider_apitask.core.errors import AnswerError
    from airflow_provider_apitask.core.messages import Response

    if not isinstance(inbound, Response):
        return None
    try:
        return json_or_text(inbound)
    except AnswerError:
        return decode_text(inbound)
