"""``response_check`` and ``response_filter``: functions of the author that are given the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError, ResponseValidationError

if TYPE_CHECKING:
    import requests
    from airflow.sdk import Context

    from airflow_provider_apitask.core.call import Call
    from airflow_provider_apitask.core.messages import Response
    from airflow_provider_apitask.core.redaction import Redactor

__all__ = ["as_requests", "asked", "check_callable", "check_hooks", "checked", "excerpt", "imported"]

#: Longest part of an answer that is put into the log, characters, and what is read for it.
_LOGGED, _READ = 10_000, 20_000


def check_callable(value: Any, parameter: str) -> None:
    """Refuse what is neither a function nor the dotted path of one.

    :raises ParameterError: naming the parameter.
    """
    if value is None or callable(value):
        return
    parts = value.replace(":", ".").split(".") if isinstance(value, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ParameterError(
            f"{parameter} must be a function or its dotted path, such as 'my_checks.is_complete', "
            f"not {checks.shown(value)}.",
            parameter=parameter,
        )


def check_hooks(value: Any) -> None:
    """Refuse what is no hook of the operation log, nor a list of them.

    :raises ParameterError: naming what is allowed.
    """
    for item in value if isinstance(value, (list, tuple)) else [value]:
        parts = item.replace(":", ".").split(".") if isinstance(item, str) else [""]
        if (item is None and item is value) or all(part.isidentifier() for part in parts):
            continue
        if isinstance(item, str) or not (callable(item) or callable(getattr(item, "write", None))):
            raise ParameterError(
                "operation_log must be a function, a sink with write(records), the name of a built-in one, "
                f"a dotted path, or a list of these, not {checks.shown(item)}.",
                parameter="operation_log",
            )


def imported(value: Callable[..., Any] | str, parameter: str) -> Callable[..., Any]:
    """The function that a dotted path names.

    :raises ParameterError: where there is none.
    """
    if not isinstance(value, str):
        return value
    from importlib import import_module

    module, _, name = value.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ParameterError(
            f"{parameter}: {value} cannot be imported: {error}.", parameter=parameter
        ) from None
    if not callable(found):
        raise ParameterError(f"{parameter}: {value} is no function.", parameter=parameter)
    function: Callable[..., Any] = found
    return function


def checked(
    call: Call,
    answer: Response,
    value: Any,
    check: Callable[..., Any] | str | None,
    take: Callable[..., Any] | str | None,
    context: Context,
) -> Any:
    """Ask the author's functions about the answer that holds the result.

    :param value: the result so far.
    :param check: ``response_check``; what it returns must be true.
    :param take: ``response_filter``; what it returns is the result.
    :raises ResponseValidationError: where the check says no.
    """
    response = as_requests(answer)
    if check is not None and not (said := _called(call, "response_check", check, response, context)):
        told = f"response_check returned {said!r:.40} for the answer of {answer.url} (HTTP {answer.status})."
        raise _refusal(call, told)
    return value if take is None else _called(call, "response_filter", take, response, context)


def _called(
    call: Call, parameter: str, function: Callable[..., Any] | str, response: Any, context: Context
) -> Any:
    from airflow.providers.common.compat.sdk import AirflowException, determine_kwargs

    function = imported(function, parameter)
    try:
        return function(response, **determine_kwargs(function, [response], context))
    except (AirflowException, ApiTaskError):
        raise  # what its author wants Airflow to do
    except Exception as error:
        if _is_harmless(call):
            raise
        # A new try would do what was done again.
        raise _refusal(call, f"{parameter} raised {type(error).__name__}: {error}.") from error


def _is_harmless(call: Call) -> bool:
    """Whether a new try of the task may send the request again."""
    from airflow_provider_apitask.core.retry import IDEMPOTENT_METHODS

    return call.request.method in IDEMPOTENT_METHODS


def _refusal(call: Call, message: str) -> ResponseValidationError:
    harmless = _is_harmless(call)
    done = "" if harmless else f" The {call.request.method} was carried out, so the task is not tried again."
    return ResponseValidationError(f"{message}{done}", retryable=harmless)


def asked(check: Callable[..., Any] | str, answer: Response, context: Context) -> Any:
    """What a ``response_check`` says of an answer, whatever it raises included."""
    from airflow.providers.common.compat.sdk import determine_kwargs

    function, response = imported(check, "response_check"), as_requests(answer)
    return function(response, **determine_kwargs(function, [response], context))


def excerpt(answer: Response, redactor: Redactor) -> str:
    """The beginning of an answer for the log, without secrets."""
    from airflow_provider_apitask.core.bodies import decode_text

    # Cut twice: a secret that the first cut leaves half of is not shown.
    text = decode_text(replace(answer, body=answer.body[: 4 * _READ]))[:_READ]
    shown = redactor.text(text)[:_LOGGED]
    rest = "" if len(answer.body) <= len(shown.encode("utf-8", "replace")) else "…"
    return f"The answer of {redactor.url(answer.url)}, {len(answer.body)} bytes: {shown}{rest}"


def as_requests(answer: Response) -> requests.Response:
    """The answer as the requests library has it, which authors know."""
    import requests

    response = requests.Response()
    response.status_code = answer.status
    response.url = answer.url
    for name in dict.fromkeys(name for name, _ in answer.headers):
        response.headers[name] = ", ".join(answer.headers.get_all(name))
    response._content = answer.body
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    return response
