"""``@task.api_call``: a function that builds the request, or one that makes the result of the answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import DecoratedOperator, TaskDecorator, task_decorator_factory
from airflow.sdk.bases.decorator import KeywordParameters
from airflow.sdk.definitions._internal.types import SET_DURING_EXECUTION

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.validation import ResponseValidation
from airflow_provider_apitask.decorators.built import Built
from airflow_provider_apitask.operators.api_call import ApiCallOperator, default_deferrable
from airflow_provider_apitask.operators.parameters import mode_of
from airflow_provider_apitask.operators.query_params import TakesQueryParams

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["ApiCallDecoratedOperator", "api_call_task"]

On = Literal["request", "result"]


class ApiCallDecoratedOperator(DecoratedOperator, ApiCallOperator, metaclass=TakesQueryParams):
    """The operator behind ``@task.api_call``; everything else of it is an ``ApiCallOperator``.

    :param python_callable: the function.
    :param on: ``request``, what it returns are parameters of the operator; ``result``, it is given the
        result of the call as ``result``, and what it returns is the result of the task.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    :raises ParameterError: when the DAG is parsed, naming the parameter and what is allowed.
    """

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *ApiCallOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **ApiCallOperator.template_fields_renderers,
    }
    custom_operator_name: str = "@task.api_call"
    #: What the function made of the request belongs into Rendered Templates.
    overwrite_rtif_after_execution: bool = True

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        on: On = "request",
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if on not in ("request", "result"):
            raise ParameterError(f"on must be request or result, not {checks.shown(on)}.", parameter="on")
        if iscoroutinefunction(python_callable):
            raise ParameterError("@task.api_call takes no async function.", parameter="python_callable")
        if on == "request":
            # Known when the function has run; what it leaves out is checked then.
            kwargs.setdefault("endpoint", SET_DURING_EXECUTION)
        super().__init__(
            python_callable=_without_result(python_callable) if on == "result" else python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            **kwargs,
        )
        self.python_callable = python_callable
        self.on = on
        self._chosen = {"mode": kwargs.get("mode"), "deferrable": kwargs.get("deferrable")}

    def execute(self, context: Context) -> Any:
        """Let the function build the request, unless a job of an earlier try is gone on with; then call."""
        if self.on == "request":
            self._build(context)
        return self._handed_on(context, super().execute(context))

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Go on when the trigger has seen the job end."""
        return self._handed_on(context, super().execute_complete(context, event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, with what the function returned before it."""
        if self.on == "request":
            self._apply(Built(context).of_this_try(), context)
        return super().resume_execution(next_method, next_kwargs, context)

    # -- the function --------------------------------------------------------------------------

    def _build(self, context: Context) -> None:
        from airflow_provider_apitask.triggers.handover import for_airflow

        try:
            built = Built(context)
            returned = built.of_earlier_try(self.idempotency_key) or self._asked(context)
            self._apply(returned, context)
            if self.mode == "async":
                built.keep(returned)
        except ApiTaskError as error:
            raise for_airflow(error) from None

    def _asked(self, context: Context) -> Mapping[str, Any]:
        """Run the function; the parameters that it returns, not rendered yet."""
        returned = self.python_callable(*self.op_args, **self._keywords(context, self.op_args))
        if not isinstance(returned, Mapping):
            raise ParameterError(
                f"The function of @task.api_call must return a dict of parameters such as endpoint, body or "
                f"job, not {type(returned).__name__}; with on='result' it makes the result instead.",
                parameter="python_callable",
            )
        return Built.checked(returned, ApiCallOperator)

    def _handed_on(self, context: Context, value: Any) -> Any:
        """The result of the task: that of the call, or what the function makes of it."""
        if self.on == "request":
            return value
        # By name: the place of `result` among the parameters is the author's.
        named = signature(_without_result(self.python_callable)).bind_partial(*self.op_args).arguments
        return self.python_callable(**{**self._keywords(context, ()), **named, "result": value})

    def _keywords(self, context: Context, args: Collection[Any]) -> Mapping[str, Any]:
        given: dict[str, Any] = {**context, **self.op_kwargs}
        return KeywordParameters.determine(self.python_callable, args, given).unpacking()

    @checks.rendered()
    def _apply(self, returned: Mapping[str, Any], context: Context) -> None:
        """Put what the function returned in the place of the operator's parameters, rendered."""
        rendered = self.render_template(dict(returned), context)
        more = {"body_format": self.body_format}
        # Code of the author wrote what the function returns.
        self.compare({**more, **returned}, {**more, **rendered})
        for name, value in {**self._chosen, **rendered}.items():
            setattr(self, name, value)
        if isinstance(self.endpoint, type(SET_DURING_EXECUTION)):
            self.endpoint = None
        self.mode = mode_of(self.mode, self.job, self.callback)
        if self.deferrable is None:
            self.deferrable = default_deferrable(self.mode)


def _without_result(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as those see it who call it in a DAG file: Airflow gives ``result`` when the task runs."""
    seen = signature(function)
    if "result" not in seen.parameters and not any(
        parameter.kind is Parameter.VAR_KEYWORD for parameter in seen.parameters.values()
    ):
        raise ParameterError(
            "With on='result' the function of @task.api_call needs a parameter `result`.",
            parameter="python_callable",
        )
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in seen.parameters.values()):
        raise ParameterError(
            "With on='result' the function of @task.api_call takes no *args.", parameter="python_callable"
        )

    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    rest = [parameter for name, parameter in seen.parameters.items() if name != "result"]
    called.__signature__ = seen.replace(parameters=rest)  # type: ignore[attr-defined]
    called.__wrapped__ = function  # type: ignore[attr-defined]
    return called


def api_call_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    on: On = "request",
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> TaskDecorator:
    """Make a task of a function that builds an API call, or makes a result of its answer.

    ``@task.api_call(api_conn_id="shop", job={…})`` over a function that returns ``{"endpoint": "/jobs",
    "body": {…}}``; ``@task.api_call(on="result", endpoint="/jobs")`` over one that takes ``result``.

    :param python_callable: function to decorate.
    :param on: what the function is for: ``request`` (default) or ``result``.
    :param multiple_outputs: whether the keys of a result that is a dict become XComs of their own; with
        ``on="result"`` by default where the function is annotated to return a dict.
    :param kwargs: parameters of the ``ApiCallOperator``.
    """
    if multiple_outputs is None and on == "request":
        # A dict in the annotation is that of the request.
        multiple_outputs = False
    # As Jinja and Airflow's UI take them, also where the function is mapped.
    for name, kind in (("job", AsyncJob), ("response_validation", ResponseValidation)):
        if name in kwargs:
            kwargs[name] = kind.as_template(kwargs[name])
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=ApiCallDecoratedOperator,
        on=on,
        **kwargs,
    )
