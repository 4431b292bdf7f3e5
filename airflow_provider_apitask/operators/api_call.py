"""The operator that calls an API, and sees an asynchronous job through to its result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.kinds import Body, Codes, Pairs, Timeout
from airflow_provider_apitask.links.remote_job import RemoteJobLink, push_link, wants_link
from airflow_provider_apitask.operators.parameters import (
    callback_as_template,
    check_parameters,
    mode_of,
    pages_as_template,
    rules_as_template,
)
from airflow_provider_apitask.operators.query_params import CallPartial, TakesQueryParams, renamed
from airflow_provider_apitask.rendering import RendersRequests

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_apitask.core.call import Call
    from airflow_provider_apitask.core.callback_spec import Callback
    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.messages import Response
    from airflow_provider_apitask.core.pagination import Pagination
    from airflow_provider_apitask.core.records import OperationRecord
    from airflow_provider_apitask.core.state import State
    from airflow_provider_apitask.core.validation import ResponseValidation
    from airflow_provider_apitask.drivers.blocking import BlockingTransport
    from airflow_provider_apitask.hooks.watching import Watch
    from airflow_provider_apitask.operators.run import CallRun
    from airflow_provider_apitask.oplog import Account

__all__ = ["ApiCallOperator", "default_deferrable"]

#: Longest return value by default, bytes: XCom is a row in Airflow's database.
DEFAULT_MAX_XCOM_BYTES = 1024 * 1024


class ApiCallOperator(RendersRequests, BaseOperator, metaclass=TakesQueryParams):
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
        ``async`` by default where ``job`` or ``callback`` is given.
    :param job: how to follow the job, an ``AsyncJob`` or a dict with its fields; without one, by
        the ``Location`` header and its relatives.
    :param callback: the service calls back when the job has ended: True, a ``Callback`` or a dict with its
        fields. The URL that it is to call goes where ``{callback_url}`` stands in the submit. Where the job's
        status cannot be asked for, the callback tells how it ended. By default no callback.
    :param wait_for_completion: False ends the task when the job is submitted and returns the
        submit's answer; an ``ApiStatusSensor`` can wait for the job with its handle.
    :param deferrable: wait on the triggerer rather than on the worker, after ``job.defer_after`` seconds;
        True by default for async mode.
    :param retry_count: how often the submit is sent again at most within this try of the task,
        where that is safe; 0 by default. (``retries`` and ``retry_delay`` are Airflow's.)
    :param retry_wait: seconds before the first of these, 1 by default; with jitter; a ``Retry-After`` is
        obeyed.
    :param retry_factor: growth of that wait from one to the next, 2 by default.
    :param retry_codes: HTTP codes after which it is sent again: ``409``, ``"5xx"``, a list; by default those
        that say that it was not taken (425, 429, 503), and all server errors where it may be repeated. A
        ``POST`` that may have had an effect is never sent again without an ``idempotency_key``.
    :param rejected_status_codes: codes of the submission's response that mean "not accepted", so that nothing
        was started: ``500``, ``"5xx"``, a list. Each 4xx but 408, 425 and 429 means that anyway; name others
        for servers that respond with 500 to bad input.
    :param idempotency_key: by which the server knows the submission again: ``task``, derived from DAG,
        task, run and map index, the same for all retries until the task is cleared; ``try``, another
        one for each try; or the key itself, a template. None by default. With a key, a submission whose
        response was lost is sent again. ``{idempotency_key}`` stands for it anywhere in the request.
    :param idempotency_header: header field that carries the key, ``Idempotency-Key`` by default; None
        if the key is only in the request itself, or is a text that says that the request may be repeated.
    :param require_csrf_token: fetch a CSRF token before each unsafe request and send it along, with
        the cookies it came with; False by default. Header and cookie are named by the connection.
    :param csrf_token_endpoint: where the token is fetched; by default the URL of the request itself.
    :param response_path: the part of a synchronous answer that is the result.
    :param response_handling: ``store`` (default), the result is checked by the rules below and returned;
        ``validate``, it is checked and nothing is returned; ``ignore``, neither.
    :param response_validation: what a good result is, a ``ResponseValidation`` or a dict with its fields:
        ``{"expected_status_code": [200, 201], "required_fields": ["data.id"]}``. Of pages, what each is.
    :param response_check: a function of the answer (a ``requests.Response``) and Airflow's context which
        returns True for a good one, or the dotted path of such a function. It is called on the worker.
    :param response_filter: a function of the same arguments whose result is returned in place of the JSON.
    :param max_response_bytes: longest body that is read; 32 MiB by default, and no bound for an answer
        that is streamed to ``output_path``.
    :param pagination: how the pages of a synchronous answer, or of a job's result, follow each other: a
        ``Pagination`` or a dict with its fields. The task returns the items of all pages.
    :param output_path: where the result is written in place of XCom: a local path, or a URL of
        ``ObjectStoragePath`` such as ``s3://conn_id@bucket/key``. The task returns a dict with ``path``,
        ``size``, ``sha256`` and ``content_type``; for pages ``pages`` and ``items`` too.
    :param output_format: ``raw``, the answer as it came, or ``jsonl``, each item of the pages in a line;
        by default what fits.
    :param max_xcom_bytes: longest return value, bytes of its JSON, 1 MiB by default; None for no bound.
    :param log_response: put the beginning of the answer that is the result into the log of the task,
        10,000 characters without secrets; False by default.
    :param operation_log: who is told of each operation, in place of ``[apitask] operation_log``: a function
        of an ``OperationRecord``, a sink, the name of a built-in one, a dotted path, or a list of these.
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
        "idempotency_key",
        "csrf_token_endpoint",
        "job",
        "callback",
        "response_path",
        "response_validation",
        "pagination",
        "output_path",
    )
    template_fields_renderers = dict.fromkeys(
        ("query_params", "headers", "body", "job", "callback", "response_validation", "pagination"), "json"
    )
    operator_extra_links: Collection[BaseOperatorLink] = (RemoteJobLink(),)
    ui_color = "#d5e8f3"
    #: Where people can look at the job, once this process knows.
    job_link: str | None = None
    #: The run in this process, which a kill has to find.
    _current: CallRun | None = None
    #: Who watches a test run, which is not deferred; None for a task.
    _watch: Watch | None = None

    def __init__(
        self,
        *,
        api_conn_id: str = "api_default",
        method: str = "POST",
        endpoint: str | None = None,
        query_params: Pairs = None,
        headers: Pairs = None,
        body: Body = None,
        body_format: str = "json",
        timeout: Timeout = None,
        mode: str | None = None,
        job: AsyncJob | dict[str, Any] | None = None,
        callback: Callback | dict[str, Any] | bool | None = None,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        retry_count: int = 0,
        retry_wait: float = 1.0,
        retry_factor: float = 2.0,
        retry_codes: Codes = None,
        rejected_status_codes: Codes = None,
        idempotency_key: str | None = None,
        idempotency_header: str | None = "Idempotency-Key",
        require_csrf_token: bool = False,
        csrf_token_endpoint: str | None = None,
        response_path: str | None = None,
        response_handling: str = "store",
        response_validation: ResponseValidation | dict[str, Any] | None = None,
        response_check: Callable[..., Any] | str | None = None,
        response_filter: Callable[..., Any] | str | None = None,
        max_response_bytes: int | None = None,
        pagination: Pagination | dict[str, Any] | None = None,
        output_path: str | None = None,
        output_format: str | None = None,
        max_xcom_bytes: int | None = DEFAULT_MAX_XCOM_BYTES,
        log_response: bool = False,
        operation_log: Any = None,
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
        self.callback = callback_as_template(callback)
        self.mode = mode_of(mode, job, self.callback)
        self.job = AsyncJob.as_template(job)
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable(self.mode) if deferrable is None else deferrable
        self.retry_count = retry_count
        self.retry_wait = retry_wait
        self.retry_factor = retry_factor
        self.retry_codes = retry_codes
        self.rejected_status_codes = rejected_status_codes
        self.idempotency_key = idempotency_key
        self.idempotency_header = idempotency_header
        self.require_csrf_token = require_csrf_token
        self.csrf_token_endpoint = csrf_token_endpoint
        self.response_path = response_path
        self.response_handling = response_handling
        self.response_validation = rules_as_template(response_validation)
        self.response_check = response_check
        self.response_filter = response_filter
        self.max_response_bytes = max_response_bytes
        self.pagination = pages_as_template(pagination)
        self.output_path = output_path
        self.output_format = output_format
        self.max_xcom_bytes = max_xcom_bytes
        self.log_response = log_response
        if not wants_link(self.job):
            self.operator_extra_links = ()  # no button that leads nowhere
        self.operation_log = operation_log
        check_parameters(vars(self))

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Set what all mapped tasks share; ``params`` are query parameters here too."""
        given = renamed(kwargs)
        plain = {
            "job": AsyncJob.as_template,
            "callback": callback_as_template,
            "pagination": pages_as_template,
            "response_validation": rules_as_template,
        }
        given.update({name: plain[name](given[name]) for name in plain if name in given})
        return CallPartial.of(super().partial(**given))

    def execute(self, context: Context) -> Any:
        """Send the request; in async mode wait for the job, here or on the triggerer."""
        return self._run(context, self._account(context), lambda: None)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on when the trigger has seen the job end."""
        from airflow_provider_apitask.triggers.handover import records_of_event, take_event

        account = self._account(context, records_of_event(event))
        return self._run(context, account, lambda: take_event(context, event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; where that took longer than ``execution_timeout``, cancel the job."""
        from airflow.sdk.exceptions import TaskDeferralTimeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._time_out_deferred(context)
            raise

    def on_kill(self) -> None:
        """Cancel the job, where a person has ended the task."""
        if self._current is not None:
            self._current.kill()

    @checks.rendered()
    def call(self, context: Context) -> Call:
        """The call with its rendered parameters, checked whole before anything is sent.

        :raises ParameterError: naming the parameter and what is allowed.
        """
        from airflow_provider_apitask.operators.build import build_call

        call = build_call(vars(self), context)
        return call if self._watch is None else replace(call, job=self._watch.job(call.job))

    def _account(self, context: Context, records: Iterable[OperationRecord] = ()) -> Account:
        from airflow_provider_apitask.oplog import Account

        return Account(context["ti"], self.api_conn_id, self.operation_log, records)

    def _new_run(self, context: Context, account: Account) -> CallRun:
        from airflow_provider_apitask.hooks.api import ApiHook
        from airflow_provider_apitask.operators.output import output_of
        from airflow_provider_apitask.operators.run import CallRun

        call = self.call(context)
        hook = ApiHook(self.api_conn_id) if self._watch is None else self._watch.hook(self.api_conn_id)
        output = None if self.output_path is None else output_of(self.output_path, call, context)
        on_link = partial(self._show_link, context)
        return CallRun(call, hook, context, self._report, output, on_link=on_link, account=account)

    @checks.rendered()
    def _run(
        self, context: Context, account: Account, take: Callable[[], tuple[State, Response | None] | None]
    ) -> Any:
        """Run the call until it ends or is deferred.

        :param account: of what is done.
        :param take: takes over from the trigger; gives None where the call begins.
        """
        from airflow.sdk.exceptions import AirflowTaskTimeout

        from airflow_provider_apitask.triggers.handover import for_airflow

        try:
            with account:
                taken = take()
                # Known before the connection is looked up: a kill may come meanwhile.
                run = self._current = self._new_run(context, account)
                run.redact(*run.call.secrets())
                self.check_reach(run.api)
                if taken is None:
                    run.begin()
                else:
                    self.job_link = taken[0].link  # the trigger has shown it
                    run.resume(*taken)
                with run.transport() as transport:
                    return self._drive(context, run, transport)
        except ApiTaskError as error:
            raise for_airflow(error) from None
        except AirflowTaskTimeout:
            if self._current is not None:
                self._current.time_out()
            raise

    def _drive(self, context: Context, run: CallRun, transport: BlockingTransport) -> Any:
        from airflow_provider_apitask.operators.handles import submit_value
        from airflow_provider_apitask.triggers.handover import for_xcom

        run.submit(transport)
        if run.state.phase.waiting and not run.killed:
            self._leave_handle(context, run.state)
            if not self.wait_for_completion:
                return for_xcom(submit_value(run.last))
            defers = self.deferrable and self._watch is None
            if defers:
                run.poll_before_deferral(transport)
            run.called_back(transport)
            waits = run.state.phase.waiting and not run.state.needs_worker
            if defers and waits and not run.killed and not run.stays:
                self._defer(run)
        try:
            value = run.finish(transport)
        finally:
            self._leave_handle(context, run.state)
            run.forget_callbacks()
        result = self._returned(self._checked(context, run, value), run)
        run.forget_callbacks(good=True)
        return result

    def _checked(self, context: Context, run: CallRun, value: Any) -> Any:
        """The result after the functions of the author."""
        from airflow_provider_apitask.callables import checked, excerpt

        answer = run.operation.answer
        if self.log_response and answer is not None:
            self.log.info("%s", excerpt(answer, run.operation.api.redactor))
        if answer is None or (self.response_check is None and self.response_filter is None):
            return value
        try:
            value = checked(run.call, answer, value, self.response_check, self.response_filter, context)
        except ApiTaskError as error:
            raise run.redacted(error) from error.__cause__
        return value if self.response_handling.lower() == "store" else None

    def _returned(self, value: Any, run: CallRun) -> Any:
        """The result, where XCom can hold it."""
        from airflow_provider_apitask.core.redaction import without_callback_urls
        from airflow_provider_apitask.operators.output import refuse_binary, within_xcom

        if not self.do_xcom_push or value is None:
            return value
        if run.call.callback is not None:
            value = without_callback_urls(value)
        if self.response_filter is None and self.output_path is None:
            refuse_binary(run, value)
        limit = checks.number(self.max_xcom_bytes, "max_xcom_bytes", minimum=1, whole=True)
        return within_xcom(value, limit)

    def _defer(self, run: CallRun) -> NoReturn:
        from airflow_provider_apitask.triggers.api_status import ApiStatusTrigger

        trigger = ApiStatusTrigger.of(run.call, self.api_conn_id, run.state)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def _time_out_deferred(self, context: Context) -> None:
        """Cancel the job; what goes wrong is logged, as the timeout is what the task ends with."""
        from airflow_provider_apitask.operators.handles import handed_over

        try:
            with self._account(context) as account:
                run = self._new_run(context, account)
                run.redact(*run.call.secrets())
                run.time_out_deferred(handed_over(context))
        except Exception:
            self.log.exception("The job could not be cancelled")

    def _leave_handle(self, context: Context, state: State) -> None:
        from airflow_provider_apitask.operators.handles import leave_handle

        if self.mode == "async" and state.submitted_at is not None:
            leave_handle(context, state, self.api_conn_id, needed=not self.wait_for_completion)

    def _show_link(self, context: Context, link: str) -> None:
        if link != self.job_link:
            self.job_link = link
            push_link(context["ti"], link)

    def _report(self, event: Event) -> None:
        if self._watch is not None:
            self._watch.event(event)
        else:
            self.log.info("%s", event.message)


def default_deferrable(mode: str) -> bool:
    """Whether a call waits on the triggerer where its author says nothing."""
    return mode == "async" or conf.getboolean("operators", "default_deferrable", fallback=False)
