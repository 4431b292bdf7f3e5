"""All that belongs to one request, and what a failure on the way says about the caller's own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import (
    Auth,
    BearerAuth,
    Exclusive,
    OAuth2Auth,
    OAuth2Settings,
    Renewal,
)
from airflow_provider_apitask.core.errors import (
    AuthenticationError,
    CsrfError,
    OriginError,
)
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import (
    Failure,
    Headers,
    NetworkFailure,
    Purpose,
    Request,
    Response,
)
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.redaction import Redactor

from .auth.helpers import Clock, a_request, pump, purposes, requests_in
from .helpers import BASE, DROPPED, NO_CONNECTION, READ_TIMEOUT, make_api, make_response

TOKEN = make_response(200, {"access_token": "tok-1"})


def oauth2(**fields: Any) -> OAuth2Auth:
    settings = OAuth2Settings(token_url="https://login.example/token?secret=s3cret", client_id="i")
    return OAuth2Auth(settings, clock=Clock(), **fields)


def talk(auth: Auth, *came: Any, request: Request | None = None, **fields: Any) -> tuple[list[str], Any]:
    """Answer each request by the next of ``came``."""
    answers = iter(came)
    steps, outcome = pump(
        conversation(request or a_request(), make_api(auth=auth, **fields)), lambda request: next(answers)
    )
    assert next(answers, None) is None, "all of it was asked for"
    return purposes(steps), outcome


def test_an_answer_is_the_outcome() -> None:
    steps, outcome = talk(oauth2(), TOKEN, make_response(404))
    assert steps == ["ENTER", "login", "LEAVE", "submit"]
    assert (outcome.status, outcome.url) == (404, f"{BASE}/jobs")


@pytest.mark.parametrize("failure", [NO_CONNECTION, READ_TIMEOUT, DROPPED])
def test_the_callers_own_failure_stays_as_it_is(failure: NetworkFailure) -> None:
    _, outcome = talk(oauth2(), TOKEN, failure)
    assert outcome is failure


@pytest.mark.parametrize("failure", [NO_CONNECTION, READ_TIMEOUT, DROPPED])
def test_a_login_that_got_no_answer_has_sent_nothing_of_it(failure: NetworkFailure) -> None:
    steps, outcome = talk(oauth2(), failure)
    assert steps == ["ENTER", "login"], "the section ends with the flow"
    assert isinstance(outcome, NetworkFailure)
    assert (outcome.failure, outcome.possibly_received) == (Failure.LOGIN, False)
    for part in ("POST https://login.example/token", "a login", failure.detail):
        assert part in outcome.detail
    assert "s3cret" not in outcome.detail


def test_a_login_with_a_response_that_is_too_large() -> None:
    """The next one would hardly be shorter."""
    large = NetworkFailure(Failure.TOO_LARGE, "", possibly_received=True)
    _, outcome = talk(oauth2(), large)
    assert isinstance(outcome, AuthenticationError)
    assert "'my_api'" in outcome.message
    assert "s3cret" not in f"{outcome.message}{outcome.data}"
    _, outcome = talk(BearerAuth("t"), large, request=a_request(csrf_url=f"{BASE}/csrf"))
    assert isinstance(outcome, CsrfError)
    assert "csrf_token_endpoint" in outcome.message
    assert not outcome.retryable


def test_a_renewal_that_got_no_answer() -> None:
    """The request was refused before: it was not taken."""
    steps, outcome = talk(oauth2(), TOKEN, make_response(401), READ_TIMEOUT)
    assert steps[-2:] == ["ENTER", "login"]
    assert (outcome.failure, outcome.possibly_received) == (Failure.LOGIN, False)


def test_a_second_sending_that_got_no_answer_may_have_been_received() -> None:
    _, outcome = talk(oauth2(), TOKEN, make_response(401), TOKEN, READ_TIMEOUT)
    assert outcome is READ_TIMEOUT


def test_a_failure_behind_a_redirect() -> None:
    """307 repeats the request: the answer of the second server is missing."""
    redirect = make_response(307, None, {"Location": f"{BASE}/jobs/"})
    assert talk(BearerAuth("t"), redirect, READ_TIMEOUT)[1] is READ_TIMEOUT
    assert talk(BearerAuth("t"), redirect, NO_CONNECTION)[1] is NO_CONNECTION


def test_a_303_to_a_submit_is_its_answer() -> None:
    _, outcome = talk(BearerAuth("t"), make_response(303, None, {"Location": f"{BASE}/jobs/7"}))
    assert outcome.status == 303


def test_a_failure_after_a_303() -> None:
    """Of a request that may be repeated, the GET is what failed."""
    request = Request(Purpose.RESULT, "GET", f"{BASE}/r")
    see_other = make_response(303, None, {"Location": f"{BASE}/r/1"})
    assert talk(BearerAuth("t"), see_other, DROPPED, request=request)[1] is DROPPED


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_login_for_the_moment(status: int) -> None:
    _, outcome = talk(oauth2(), make_response(status, {"error_description": "busy"}))
    assert isinstance(outcome, NetworkFailure)
    assert (outcome.failure, outcome.possibly_received) == (Failure.LOGIN, False)
    assert "busy" in outcome.detail


def test_a_refused_login_is_the_outcome() -> None:
    steps, outcome = talk(oauth2(), make_response(401, {"error": "invalid_client"}))
    assert isinstance(outcome, AuthenticationError)
    assert steps == ["ENTER", "login"]
    assert not outcome.retryable


def test_a_csrf_token_that_got_no_answer() -> None:
    request = a_request(csrf_url=f"{BASE}/csrf")
    steps, outcome = talk(BearerAuth("t"), READ_TIMEOUT, request=request)
    assert steps == ["csrf"]
    assert (outcome.failure, outcome.possibly_received) == (Failure.LOGIN, False)
    assert "a CSRF token" in outcome.detail
    _, outcome = talk(BearerAuth("t"), make_response(200), request=request)
    assert isinstance(outcome, CsrfError)


def test_a_login_page_renews_and_the_second_means_refused() -> None:
    page = make_response(302, None, {"Location": "/login?next=/"})
    auth = oauth2(renewal=Renewal(login_page="/login"))
    steps, outcome = talk(auth, TOKEN, page, TOKEN, make_response(202))
    assert steps.count("login") == 2
    assert outcome.status == 202
    steps, outcome = talk(auth, page, TOKEN, page)
    assert isinstance(outcome, AuthenticationError)
    assert "redirected to the login page" in outcome.message
    assert "my_api" in outcome.message


def test_origins_are_judged_first() -> None:
    request = Request(Purpose.RESULT, "GET", "https://evil.example/")
    steps, outcome = talk(oauth2(), request=request)
    assert steps == []
    assert isinstance(outcome, OriginError)


def test_an_anonymous_origin_gets_nothing_and_no_login() -> None:
    rules = OriginRules.parse(anonymous=["https://*.s3.example.com"])
    mine = Headers({"Accept": "a/b", "X-Mine": "1", "Cookie": "a=1", "Range": "bytes=0-", "User-Agent": "me"})
    url = "https://x.s3.example.com/?sig=1"
    # A call with csrf_token: the GET of its result needs no token, and this origin has none.
    request = Request(Purpose.RESULT, "GET", url, mine, csrf_url=url)
    api = make_api(auth=oauth2(), origins=rules)
    steps, outcome = pump(conversation(request, api), lambda request: make_response(200))
    (sent,) = requests_in(steps)
    assert {name for name, _ in sent.headers} == {"Accept", "Range", "User-Agent"}
    assert not sent.credentials
    assert outcome.status == 200
    post = Request(Purpose.SUBMIT, "POST", url)
    assert isinstance(pump(conversation(post, api), lambda request: make_response())[1], OriginError)


def test_no_credentials_after_an_anonymous_origin() -> None:
    """It could choose what the API does with them."""
    rules = OriginRules.parse(anonymous=["https://files.example.com"])
    there = make_response(302, None, {"Location": "https://files.example.com/f"})
    back = make_response(302, None, {"Location": f"{BASE}/g"})
    answers = iter([there, back, make_response(200)])
    request = Request(Purpose.RESULT, "GET", f"{BASE}/r", Headers({"X-Mine": "1"}))
    api = make_api(auth=BearerAuth("t"), origins=rules)
    steps, outcome = pump(conversation(request, api), lambda request: next(answers))
    assert [s.headers.get("Authorization") for s in steps] == ["Bearer t", None, None]
    assert [s.headers.get("X-Mine") for s in steps] == ["1", None, None]
    assert [s.credentials for s in steps] == [True, False, False]
    assert not outcome.credentials


class Broken(Auth):
    """Fails inside of its exclusive section."""

    def __init__(self) -> None:
        self.closed = False

    def flow(self, request: Request) -> Generator[Any, Any, Response]:
        try:
            yield Exclusive.ENTER
            yield Request(Purpose.LOGIN, "POST", "https://login.example/")
            raise AuthenticationError("broken")
        finally:
            self.closed = True


@pytest.mark.parametrize("came", [READ_TIMEOUT, make_response(200)])
def test_a_flow_is_closed_whatever_comes(came: Any) -> None:
    """The driver leaves the section where the conversation ends."""
    auth = Broken()
    steps, outcome = talk(auth, came)
    assert steps == ["ENTER", "login"]
    assert auth.closed
    assert isinstance(outcome, NetworkFailure | AuthenticationError)


def test_a_driver_that_gives_up_closes_the_flow() -> None:
    auth = Broken()
    flow = conversation(a_request(), make_api(auth=auth))
    next(flow)
    next(flow)
    flow.close()
    assert auth.closed


def test_urls_in_details_are_redacted() -> None:
    redactor = Redactor(["s3cret-1"])
    _, outcome = talk(
        BearerAuth("t"),
        NO_CONNECTION,
        request=a_request(csrf_url=f"{BASE}/csrf?k=s3cret-1"),
        redactor=redactor,
    )
    assert "s3cret-1" not in outcome.detail
