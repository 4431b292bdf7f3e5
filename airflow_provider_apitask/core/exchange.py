"""One request as the state machine sees it: credentials and redirects happen in here.

A flow that never sends: drivers pump it, so that worker and triggerer behave alike.
"""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Flow
from airflow_provider_apitask.core.errors import OriginError, RequestFailedError
from airflow_provider_apitask.core.messages import Headers, Purpose, Request, Response
from airflow_provider_apitask.core.problem import status_line
from airflow_provider_apitask.core.urls import resolve

__all__ = ["MAX_REDIRECTS", "exchange"]

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def exchange(request: Request, api: Api) -> Flow:
    """Send a request with credentials and follow redirects as far as that is safe.

    :raises OriginError: where a redirect leads to an origin that may not be asked.
    :raises RequestFailedError: where a redirect would change the method, or there are too many.
    """
    for _ in range(MAX_REDIRECTS + 1):
        answer = yield from api.auth.flow(request)
        # The URL without the credentials that the flow may have put into its query.
        response = replace(answer, url=request.url)
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location or _is_answer(request, response):
            return response
        request = _redirected(request, response, resolve(location, request.url), api)
    shown = api.redactor.url(request.url)
    raise RequestFailedError(
        f"{request.method} was redirected more than {MAX_REDIRECTS} times, the last time to {shown}: the "
        "server sends it in circles, as login pages do; see by hand which URL and credentials it wants.",
        url=shown,
        method=request.method,
    )


def _is_answer(request: Request, response: Response) -> bool:
    """Whether a redirect is what the state machine waits for.

    302 and 303 to a status check name the result. 303 to a submit says that it was done: the GET
    may be repeated, the submit may not, and they are told apart outside.
    """
    if request.purpose is Purpose.POLL:
        return response.status in (302, 303)
    return (
        request.purpose is Purpose.SUBMIT and response.status == 303 and request.method not in _SAFE_METHODS
    )


def _redirected(request: Request, response: Response, target: str, api: Api) -> Request:
    """The request to send next (RFC 9110 §15.4).

    A 301 or 302 to anything but GET is an error: clients turn it into a GET, which answers 200
    and does nothing, or send it again, which nobody asked for.
    """
    try:
        api.admit(target)
    except OriginError as error:
        raise OriginError(
            f"{request.method} {api.redactor.url(request.url)} was redirected: {error.message}", **error.data
        ) from None
    if response.status == 303:
        method = request.method if request.method in _SAFE_METHODS else "GET"
        headers = Headers((n, v) for n, v in request.headers if not n.lower().startswith("content-"))
        return replace(request, method=method, url=target, body=None, headers=headers)
    if response.status in (301, 302) and request.method not in _SAFE_METHODS:
        shown = api.redactor.url(target)
        raise RequestFailedError(
            f"{request.method} {api.redactor.url(request.url)} answered {status_line(response)} to {shown}, "
            f"which does not say that a {request.method} may be sent there; set the endpoint to that URL.",
            status_code=response.status,
            method=request.method,
            url=api.redactor.url(request.url),
            location=shown,
        )
    return replace(request, url=target)
