"""One request as the state machine sees it: credentials and redirects happen in here.

A flow that never sends: drivers pump it, so that worker and triggerer behave alike.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace
from urllib.parse import urlsplit

from airflow_provider_apitask.core.advice import credentials_sent
from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.auth import Flow, Steps
from airflow_provider_apitask.core.connection_lookup import LookupAuth
from airflow_provider_apitask.core.csrf_token import SAFE_METHODS
from airflow_provider_apitask.core.errors import (
    ApiTaskError,
    AuthenticationError,
    CsrfError,
    LoginUnavailableError,
    OriginError,
    RequestFailedError,
)
from airflow_provider_apitask.core.messages import (
    MAX_TRIGGERER_BYTES,
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.origins import Trust
from airflow_provider_apitask.core.problem import status_line
from airflow_provider_apitask.core.urls import resolve

__all__ = ["MAX_REDIRECTS", "anonymous", "conversation", "exchange"]

#: What came of a request in the end.
Outcome = Response | NetworkFailure | ApiTaskError

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Path of a login page, which is never the endpoint that an author wants.
_LOGIN_PAGE = re.compile(r"log-?_?in|sign-?_?in|\bsso\b|\bsaml|\bauth", re.IGNORECASE)
#: Header fields that say nothing of who asks.
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "user-agent", "range"})


def conversation(
    request: Request, api: Api
) -> Generator[Steps, Response | NetworkFailure | Api | None, Outcome]:
    """All that belongs to one request: yields steps, is given what came of each, returns the outcome.

    A failure tells whether *the caller's* request may have been received: a login that got no answer
    has sent nothing of it. What was answered before, by a redirect or a 401, was not taken.
    """
    flow = exchange(request, api)
    sent = False
    try:
        step = next(flow)
        while True:
            came = yield _bounded(step)
            sent = sent or (isinstance(step, Request) and step.purpose.is_of_the_call)
            if not isinstance(came, NetworkFailure) or not isinstance(step, Request):
                step = flow.send(came)
            elif step.purpose.is_of_the_call:
                return came
            else:
                # Into the flow, so that others who wait for the same login learn of it.
                step = flow.throw(_no_login(step, came, api))
    except StopIteration as stop:
        response: Response = stop.value
        return _whole(request, response)
    except LoginUnavailableError as error:
        return NetworkFailure(Failure.LOGIN, error.message, possibly_received=False)
    except ApiTaskError as error:
        return error
    except Exception as error:  # what a credential makes of a response may be anything
        if not sent:
            raise
        return NetworkFailure(Failure.UNREADABLE, type(error).__name__, possibly_received=True)
    finally:
        flow.close()


def _whole(request: Request, response: Response) -> Response | NetworkFailure:
    """Refuse a part of a response that the request did not ask for (RFC 9110 §15.3.7)."""
    if response.status == 206 and request.headers.get("Range") is None:
        return NetworkFailure(Failure.INVALID, "206 Partial Content, not requested", possibly_received=True)
    return response


def _bounded(step: Steps) -> Steps:
    if isinstance(step, Request) and not step.purpose.is_of_the_call:
        return replace(step, max_bytes=min(step.max_bytes, MAX_TRIGGERER_BYTES))
    return step


def _no_login(step: Request, failure: NetworkFailure, api: Api) -> ApiTaskError:
    said = f"{step.method} {api.redactor.url(step.url)} for {step.purpose.words}: {failure}"
    if failure.failure is not Failure.TOO_LARGE:
        return LoginUnavailableError(said)
    url = api.redactor.url(step.url)
    if step.purpose is Purpose.CSRF:
        remedy = "Set csrf_token_endpoint to an endpoint with a short response"
        return CsrfError(f"{said}. {remedy}.", url=url, retryable=False)
    return AuthenticationError(
        f"{said}. Check the login settings of the connection {api.conn_id!r}.", url=url
    )


def exchange(request: Request, api: Api) -> Flow:
    """Send a request with credentials and follow redirects as far as that is safe.

    :raises OriginError: where a redirect leads to an origin that may not be asked.
    :raises AuthenticationError: for the login page, and for a redirect to it.
    :raises RequestFailedError: where a redirect would change the method, or there are too many.
    """
    yield from api.auth.ready()
    for _ in range(MAX_REDIRECTS + 1):
        request = _placed(request, api)
        # An anonymous origin that redirects back to the API must not make it act with credentials.
        if api.admit(request.url) is Trust.ANONYMOUS or not request.credentials:
            request = anonymous(request, api)
            answer: Response = yield request
        else:
            answer = yield from api.csrf.flow(request, LookupAuth(api))
        # The URL without the credentials that the flow may have put into its query.
        response = replace(answer, url=request.url, credentials=request.credentials)
        if request.credentials and api.auth.renewal.shows_login_page(response):
            raise _refused(request, response, api)
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


def _refused(request: Request, response: Response, api: Api) -> AuthenticationError:
    """Return the error of a request that got the login page, or a redirect to it."""
    url, location = api.redactor.url(request.url), response.headers.get("Location")
    redirect = 300 <= response.status < 400 and location
    got = (
        f"was redirected to the login page {api.redactor.url(location or '')}"
        if redirect
        else "got the login page"
    )
    return AuthenticationError(
        f"{request.method} {url} {got} ({status_line(response)}): the server refused the credentials "
        f"({credentials_sent(request, response, api)}).",
        url=url,
        method=request.method,
        status_code=response.status,
    )


def _placed(request: Request, api: Api) -> Request:
    """The request where the API really is; where its CSRF token is fetched must be trusted as well."""
    csrf_url = api.placed(request.csrf_url) if request.csrf_url is not None else None
    if request.method in SAFE_METHODS:
        csrf_url = None  # the result of a job may be at an origin that gives no token
    if csrf_url is not None and api.admit(csrf_url) is Trust.ANONYMOUS:
        raise OriginError(
            f"{api.redactor.url(csrf_url)} gets no credentials (anonymous_origins), so it cannot give a "
            "CSRF token.",
            url=api.redactor.url(csrf_url),
        )
    return replace(request, url=api.placed(request.url), csrf_url=csrf_url)


def anonymous(request: Request, api: Api) -> Request:
    """The request without anything that was meant for the API itself (rule 16).

    :raises OriginError: where it is not one that only reads.
    """
    if request.method not in ("GET", "HEAD"):
        shown = api.redactor.url(request.url)
        raise OriginError(
            f"{request.method} {shown} was not sent: an origin of anonymous_origins is only read from.",
            url=shown,
        )
    kept = [(name, value) for name, value in request.headers if name.lower() in _HARMLESS_HEADERS]
    return replace(request, headers=Headers(kept), body=None, credentials=False, csrf_url=None)


def _is_answer(request: Request, response: Response) -> bool:
    """Whether a redirect is what the state machine waits for.

    303 to a status check names the result, if the author declared nothing. 303 to a submit or cancel says
    that it was done: the GET may be repeated, the submit may not, and they are told apart outside.
    """
    if request.purpose is Purpose.POLL:
        return response.status == 303 and request.reads_see_other
    done = request.purpose in (Purpose.SUBMIT, Purpose.CANCEL) and response.status == 303
    return done and request.method not in _SAFE_METHODS


def _redirected(request: Request, response: Response, target: str, api: Api) -> Request:
    """The request to send next (RFC 9110 §15.4).

    A 301 or 302 to anything but GET is an error, unless it is a status check: clients turn it into a GET,
    which gets a 200 and does nothing, or send it again, which could do it twice.
    """
    try:
        api.admit(target)
    except OriginError as error:
        raise OriginError(
            f"{request.method} {api.redactor.url(request.url)} was redirected: {error.message}", **error.data
        ) from None
    polls = request.purpose is Purpose.POLL
    if response.status == 303 or (polls and response.status in (301, 302)):
        method = request.method if request.method in _SAFE_METHODS else "GET"
        headers = Headers((n, v) for n, v in request.headers if not n.lower().startswith("content-"))
        return replace(request, method=method, url=target, body=None, headers=headers)
    if response.status in (301, 302) and request.method not in _SAFE_METHODS:
        shown = api.redactor.url(target)
        remedy = "set the endpoint to that URL"
        if _LOGIN_PAGE.search(urlsplit(target).path):
            sent = credentials_sent(request, response, api)
            remedy = f"it looks like a login page ({sent}); name its path as Login page in the connection"
        raise RequestFailedError(
            f"{request.method} {api.redactor.url(request.url)} answered {status_line(response)} to {shown}, "
            f"which does not say that a {request.method} may be sent there; {remedy}.",
            status_code=response.status,
            method=request.method,
            url=api.redactor.url(request.url),
            location=shown,
        )
    return replace(request, url=target)
