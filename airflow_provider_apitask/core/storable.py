"""What of a call may be stored: in a trigger, a state record, an event or an XCom. Never a credential.

What an author writes is refused before the submission. What a server hands out, such as a signed URL, is
masked in what is stored, and the process that has it follows the job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.redaction import MASK, Redactor, is_credential_name, is_secret_name
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.templating import placeholders

__all__ = ["is_masked", "refuse_stored_secrets", "secret_paths", "storable", "unsigned"]

#: Names such as ``code`` hold a key if the value is this long, characters: a function key of Azure.
_MIN_KEY_CHARS = 20
#: What may stand beside a placeholder in a credential, such as the scheme in ``Bearer {json.token}``.
_WORDS = re.compile(r"[A-Za-z][a-z]*(?:-[A-Za-z][a-z]*)*|.{0,3}")
_BRACES = re.compile(r"\{[^{}]*\}")


def refuse_stored_secrets(job: AsyncJob, csrf_endpoint: str | None = None) -> None:
    """Refuse a job whose requests hold credentials that would be stored with the trigger.

    :raises ParameterError: naming the request and the field; its value stays out of the message.
    """
    given: dict[str, Any] = {f"job.{name}": getattr(job, name, None) for name in _STORED_REQUESTS}
    given["csrf_token_endpoint"] = RequestSpec(endpoint=csrf_endpoint)
    for parameter, request in given.items():
        if not isinstance(request, RequestSpec):
            continue
        found = [field for field, text in request.credentials() if _is_written(text)]
        if isinstance(request.body, str) and _names_a_secret(request.body):
            found.append("body")
        if found:
            part, _, name = found[0].partition(".")
            raise ParameterError(
                f"{parameter}.{part}: {name or 'the text'} looks like a credential, and would be stored in "
                "Airflow's database while the task is deferred. Put it into the connection, or set "
                "deferrable=False.",
                parameter=f"{parameter}.{part}",
            )


_STORED_REQUESTS = ("status_request", "result_request", "cancel_request", "error_request", "delete_request")


def _is_written(text: str) -> bool:
    """Whether a text holds a credential, in contrast to a placeholder for one."""
    rest = _without_placeholders(text)
    if rest == text:
        return len(text.strip()) > 3
    return not all(_WORDS.fullmatch(word) for word in re.split(r"[\s=:;,&]+", rest))


def _names_a_secret(body: str) -> bool:
    """Whether a text that is a body has a value under the name of a credential."""
    rest = _without_placeholders(body)
    return Redactor().mask(rest) != rest


def _without_placeholders(text: str) -> str:
    return _BRACES.sub(lambda match: "" if any(placeholders(match[0])) else match[0], text)


def storable(state: State, job: AsyncJob) -> State:
    """Return the state with the credentials masked that a server has handed out.

    These are signed URLs, and values that a request of the job sends as a credential. If the URL of a
    result is masked, the job is to be polled once more: the response has a URL that is good.
    """
    secret = set(secret_paths(job))
    values = {name: MASK if name in secret else unsigned(value) for name, value in state.values.items()}
    kept = state.at(
        state.phase,
        values=values,
        status_url=unsigned(state.status_url),
        result_url=unsigned(state.result_url),
        paging=unsigned(state.paging),
    )
    if kept == state:
        return state
    if kept.paging != state.paging:
        kept = kept.at(kept.phase, paging=None)
    if state.phase is Phase.FETCH and not state.inline:
        return kept.at(Phase.POLL, next_at=None)
    return kept


def is_masked(value: Any) -> bool:
    """Whether something of a value was not stored."""
    if isinstance(value, Mapping):
        return any(map(is_masked, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(is_masked, value))
    return isinstance(value, str) and MASK in value


def unsigned(value: Any) -> Any:
    """Return a (nested) value with the signatures and keys in its URLs masked."""
    if isinstance(value, str):
        return Redactor().url(value) if _is_signed(value) else value
    if isinstance(value, Mapping):
        return {name: unsigned(item) for name, item in value.items()}
    return [unsigned(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_signed(text: str) -> bool:
    if "?" not in text:
        return False
    try:
        query = urlsplit(text).query
    except ValueError:
        return False
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = unquote_plus(name)
        if value and (is_credential_name(name) or (is_secret_name(name) and len(value) >= _MIN_KEY_CHARS)):
            return True
    return False


def secret_paths(job: AsyncJob) -> Iterator[str]:
    """Return the placeholders that requests of a job send as credentials."""
    for request in job.requests():
        if isinstance(request, RequestSpec):
            for _, text in request.credentials():
                yield from placeholders(text)
