"""What to do about a refused request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_apitask.core.csrf_token import requires_token
from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
from airflow_provider_apitask.core.redaction import is_secret_name

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api

__all__ = ["credentials_sent", "with_remedy"]


def with_remedy(said: str, request: Request, inbound: Response | NetworkFailure, api: Api) -> str:
    """Return the description of a response with what to do about it: one sentence without its full stop."""
    remedy = _remedy(request, inbound, api) if isinstance(inbound, Response) else None
    return said if remedy is None else f"{said.rstrip('.')} ({remedy})"


def credentials_sent(request: Request, response: Response, api: Api) -> str:
    """Return whether credentials were sent and what to check, as a clause that names the connection."""
    name = f"the connection {api.conn_id!r}"
    if not response.credentials:
        return f"no credentials were sent, as the response came by way of an anonymous origin of {name}"
    if api.auth.sends_credentials:
        found = f"; {response.lookup}" if response.lookup is not None else ""
        return f"the credentials of {name} were sent{found}; check its login, password and secrets"
    if own := [header for header, _ in request.headers if is_secret_name(header)]:
        return f"the header {own[0]} was sent, and {name} has no authentication"
    return f"no credentials were sent, as {name} has no authentication"


def _remedy(request: Request, response: Response, api: Api) -> str | None:
    if response.status == 401:
        return credentials_sent(request, response, api)
    # Django has no header for it.
    named = b"csrf" in response.body[:4096].lower()
    if response.status != 403 or not (named or requires_token(response, api.csrf.settings)):
        return None
    if request.csrf_url is not None:
        return "the server refused its own CSRF token; check the CSRF fields of the connection"
    return "the request needs a CSRF token; set require_csrf_token on the task"
