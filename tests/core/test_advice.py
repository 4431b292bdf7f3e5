"""What an error of a refused request says to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_apitask.core.advice import with_remedy
from airflow_provider_apitask.core.auth import BasicAuth, DriverAuth, NoAuth, Renewal
from airflow_provider_apitask.core.errors import AuthenticationError, RequestFailedError
from airflow_provider_apitask.core.exchange import conversation
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from airflow_provider_apitask.core.problem import describe

from .auth.helpers import a_request, pump
from .helpers import BASE, make_api, make_response

BASIC = BasicAuth("u", "pw-s3cret")
FORM = b"<!DOCTYPE html><form><input name=u><input id=p Type = 'password' name=p></form>"


def said(response: Response, auth: Any = BASIC, **fields: Any) -> str:
    api = make_api(auth=auth)
    request = a_request(**fields)
    return api.redactor.line(with_remedy(describe(request, response, str), request, response, api))


@pytest.mark.parametrize("auth", [BASIC, DriverAuth()])
def test_a_401_with_credentials(auth: Any) -> None:
    text = said(make_response(401, {"message": "No."}), auth)
    assert text.endswith(
        "No (the credentials of the connection 'my_api' were sent; check its login, password and secrets)"
    )


@pytest.mark.parametrize(
    ("headers", "clause"),
    [
        ({}, "no credentials were sent, as the connection 'my_api' has no authentication"),
        (
            {"X-Api-Key": "s3cret-7"},
            "the header X-Api-Key was sent, and the connection 'my_api' has no authentication",
        ),
    ],
)
def test_a_401_without(headers: dict[str, str], clause: str) -> None:
    text = said(make_response(401), NoAuth(), headers=headers)
    assert text.endswith(f"({clause})")
    assert "s3cret" not in text


def test_a_401_behind_an_anonymous_origin() -> None:
    text = said(replace(make_response(401), credentials=False))
    assert "(no credentials were sent, as the response came by way of an anonymous origin" in text


@pytest.mark.parametrize(
    "response",
    [
        make_response(403, None, {"X-CSRF-Token": "Required"}),
        make_response(403, {"detail": "CSRF Failed: CSRF token missing."}),
        make_response(403, b"<p>CSRF verification failed. Request aborted.</p>", content_type="text/html"),
    ],
)
def test_a_403_that_wants_a_csrf_token(response: Response) -> None:
    assert "set require_csrf_token on the task" in said(response)
    text = said(response, csrf_url=f"{BASE}/csrf")
    assert "require_csrf_token" not in text
    assert "check the CSRF fields of the connection" in text


@pytest.mark.parametrize(
    "response", [make_response(403, {"detail": "no"}), make_response(200), make_response(500)]
)
def test_other_responses_have_none(response: Response) -> None:
    assert "(" not in said(response).replace("(application/json", "").replace("(no Content-Type", "")


# -- the login page --------------------------------------------------------------------------------


def outcome(response: Response, auth: Any = None, page: str | None = "/login/", **fields: Any) -> Any:
    auth = auth or BasicAuth("u", "pw-s3cret")
    auth.renewal = Renewal(login_page=page)
    request = Request(**{"purpose": Purpose.SUBMIT, "method": "POST", "url": f"{BASE}/jobs", **fields})
    return pump(
        conversation(request, make_api(auth=auth)), lambda request: replace(response, url=request.url)
    )[1]


@pytest.mark.parametrize(
    ("purpose", "method"),
    [("submit", "POST"), ("poll", "GET"), ("result", "GET"), ("cancel", "DELETE"), ("test", "GET")],
)
@pytest.mark.parametrize(
    "response",
    [
        *(make_response(code, None, {"Location": "/login?next=/jobs"}) for code in (301, 302, 303, 307, 308)),
        make_response(302, None, {"Location": "https://sso.example/login/"}),
        make_response(200, FORM, content_type="text/html"),
        make_response(403, FORM, content_type="text/html; charset=utf-8"),
    ],
)
def test_a_login_page_refuses_static_credentials(response: Response, purpose: str, method: str) -> None:
    error = outcome(response, purpose=Purpose(purpose), method=method)
    assert isinstance(error, AuthenticationError)
    for part in (f"{method} {BASE}/jobs", "login page", "refused the credentials", "'my_api'", "were sent"):
        assert part in error.message
    assert error.data["status_code"] == response.status
    assert "endpoint" not in error.message


def test_a_login_page_in_place_of_a_csrf_token() -> None:
    page = make_response(302, None, {"Location": "/login"})
    error = outcome(page, csrf_url=f"{BASE}/csrf")
    assert isinstance(error, AuthenticationError)
    assert "No CSRF token, because the server refused the credentials" in error.message


def test_html_at_the_path_of_the_login_page() -> None:
    page = make_response(200, b"<html><script src=app.js></script>", content_type="text/html")
    assert isinstance(outcome(page, method="GET", url="https://api.example.com/login"), AuthenticationError)
    assert outcome(page, method="GET").status == 200


@pytest.mark.parametrize(
    "response",
    [
        make_response(200, {"html": "<input type=password>"}),
        make_response(200, b"<html><input type=text name=password>", content_type="text/html"),
        make_response(401, {"detail": "no"}),
        make_response(303, None, {"Location": "/jobs/7"}),
    ],
)
def test_what_is_not_the_login_page(response: Response) -> None:
    assert outcome(response).status == response.status
    assert outcome(response, page=None).status == response.status


def test_without_a_login_page_the_error_of_a_post_says_what_it_looks_like() -> None:
    for path in ("/login/?next=/jobs", "/users/sign_in", "/sso/saml2", "/accounts/log-in"):
        error = outcome(make_response(302, None, {"Location": path}), page=None)
        assert isinstance(error, RequestFailedError)
        for part in ("looks like a login page", "'my_api' were sent", "Login page"):
            assert part in error.message
        assert "set the endpoint" not in error.message
    error = outcome(make_response(302, None, {"Location": "/jobs/blogging"}), page=None)
    assert "set the endpoint to that URL" in error.message
