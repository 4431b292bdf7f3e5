"""CSRF tokens on Django's own middleware, as it is and as SAP has it (rule 7)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_apitask.core.messages import cookie_pairs
from tests.drivers.auth_support import PLACES, Conn, conn, delete, job, perform
from tests.drivers.contract import sync
from tests.support import Answer, Recorded
from tests.support.real.csrf_server import PASSWORD, USER, CsrfServer
from tests.support.real.oauth2_server import BASIC
from tests.support.real.tls import Certificates, make_certificates
from tests.support.scripted_server import ScriptedServer

ONE_PROCESS = ["worker", "triggerer"]
STYLES = ["sap", "django"]
JOB = [("POST", 202), *[("GET", 200)] * 4]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("csrf-tls"))


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, CsrfServer]]:
    """One of each style; starting Django takes half a second."""
    with CsrfServer("sap") as sap, CsrfServer("django") as django:
        yield {"sap": sap, "django": django}


class Watch:
    """What a shared server sees from now on."""

    def __init__(self, server: CsrfServer) -> None:
        self.server = server
        self._before = len(server.history)

    @property
    def history(self) -> list[Any]:
        return self.server.history[self._before :]

    @property
    def seen(self) -> list[tuple[str, str, int]]:
        return [(r.method, r.path, r.status) for r in self.history]

    @property
    def number(self) -> str:
        """The number of the job that was submitted last."""
        polls = [r.path.split("/")[2] for r in self.history if r.path.startswith("/jobs/") and r.path[6:]]
        return polls[-1]


@pytest.fixture(params=STYLES)
def watch(request: pytest.FixtureRequest, servers: dict[str, CsrfServer]) -> Watch:
    return Watch(servers[request.param])


def csrf(server: CsrfServer, *args: Any, **fields: Any) -> Conn:
    if server.header == "X-CSRFToken":
        fields = {"csrf_header": "X-CSRFToken", "csrf_cookie": "csrftoken", **fields}
    return conn(server.url, *args, **fields)


def a_job(csrf_endpoint: str | None = "token/", **fields: Any) -> Any:
    return job(endpoint="jobs/", csrf_endpoint=csrf_endpoint, result_request="{status_url}/result/", **fields)


@pytest.mark.parametrize("place", PLACES)
def test_job(watch: Watch, place: str) -> None:
    """One token for the submit, fetched at the configured URL; polls and result need none."""
    outcome = perform(place, csrf(watch.server), a_job())
    assert outcome.value["rows"] == 3
    job_path = f"/jobs/{watch.number}/"
    assert watch.seen == [
        ("GET", "/token/", 200),
        ("POST", "/jobs/", 202),
        *[("GET", job_path, 200)] * 3,
        ("GET", f"{job_path}result/", 200),
    ]
    fetch, submit, *rest = watch.history
    header = watch.server.header
    assert fetch.header(header) == "Fetch"
    assert fetch.body == b""
    assert submit.header(header) not in (None, "Fetch")
    assert ("csrftoken=" if header == "X-CSRFToken" else "sessionid=") in (submit.header("Cookie") or "")
    assert submit.json() == {"a": 1}
    assert [(r.header(header), r.header("Cookie")) for r in rest] == [(None, None)] * 4
    outcome.assert_clean(submit.header(header))


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_token_at_the_own_url(servers: dict[str, CsrfServer], place: str) -> None:
    """SAP's way: the token is asked of the URL that the request goes to."""
    watch = Watch(servers["sap"])
    assert perform(place, csrf(watch.server), a_job("")).value["rows"] == 3
    assert watch.seen[:2] == [("GET", "/jobs/", 200), ("POST", "/jobs/", 202)]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_delete_needs_it_too(watch: Watch, place: str) -> None:
    connection = csrf(watch.server)
    perform("worker", connection, a_job(max_polls=1))
    endpoint = f"jobs/{watch.number}/"
    refused = perform(place, connection, delete(endpoint))
    assert refused.error.data["status_code"] == 403
    assert perform(place, connection, delete(endpoint, csrf_endpoint="token/")).value["status"] == "cancelled"
    assert watch.seen[-3:] == [
        ("DELETE", f"/{endpoint}", 403),
        ("GET", "/token/", 200),
        ("DELETE", f"/{endpoint}", 200),
    ]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_call_that_wants_none_gets_none(watch: Watch, place: str) -> None:
    """Whether it is needed is said by call: without it the server refuses."""
    assert perform(place, csrf(watch.server), a_job(None)).error.data["status_code"] == 403
    assert watch.seen == [("POST", "/jobs/", 403)]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_gets_never_fetch_one(watch: Watch, place: str) -> None:
    call = sync("GET", "jobs/")
    wanting = type(call)(request=call.request, csrf_endpoint="token/")
    assert perform(place, csrf(watch.server), wanting).value["jobs"] >= 0
    assert watch.seen == [("GET", "/jobs/", 200)]
    assert watch.history[0].header(watch.server.header) is None


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_rotated_token_is_fetched_anew_once(watch: Watch, place: str) -> None:
    """The token known from the first submit is refused at the second one of the same process."""
    process = Process(place, csrf(watch.server))
    call = a_job(max_polls=1)
    process.run(call)
    watch.server.rotate()
    process.run(call)
    process.run(call)
    posts_and_fetches = [s for s in watch.seen if s[1] in ("/token/", "/jobs/")]
    assert posts_and_fetches == [
        ("GET", "/token/", 200),
        ("POST", "/jobs/", 202),
        ("POST", "/jobs/", 403),
        ("GET", "/token/", 200),
        ("POST", "/jobs/", 202),
        ("POST", "/jobs/", 202),
    ]


class Process:
    """Calls of one process share what it knows."""

    def __init__(self, place: str, connection: Conn) -> None:
        from airflow_provider_apitask.hooks.connection import read_connection

        self._place, self._found = place, read_connection(connection)

    def run(self, call: Any) -> Any:
        from tests.drivers.contract import WAYS, Clock, Setup

        setup = Setup(call, self._found.api, self._found.options, Clock())
        return WAYS[{"worker": "blocking", "triggerer": "event loop"}[self._place]](setup)[1]


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("cookie", [None, "csrftoken"], ids=["header", "cookie"])
def test_a_server_that_takes_no_token_is_asked_twice(place: str, cookie: str | None) -> None:
    with ScriptedServer() as server:
        fresh = Answer(200, headers=[("X-CSRF-Token", "t0k"), ("Set-Cookie", "csrftoken=t0k")])
        server.on("GET", "/jobs", fresh)
        server.on("POST", "/jobs", Answer(403, {"detail": "no"}, headers={"X-CSRF-Token": "Required"}))
        connection = conn(server.url, **({"csrf_cookie": cookie} if cookie else {}))
        error = perform(place, connection, job(csrf_endpoint="")).error
        assert error.data["status_code"] == 403
        assert [r.method for r in server.history] == ["GET", "POST", "GET", "POST"]


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_403_of_another_reason_is_not_repeated(place: str) -> None:
    with ScriptedServer() as server:
        server.on("GET", "/jobs", Answer(404, headers={"X-CSRF-Token": "t0k"}))  # a 404 gives one as well
        server.on("POST", "/jobs", Answer(403, {"detail": "not yours"}))
        error = perform(place, conn(server.url), job(csrf_endpoint="")).error
        assert "not yours" in error.message
        assert [r.method for r in server.history] == ["GET", "POST"]
        assert server.history[-1].header("X-CSRF-Token") == "t0k"


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "there is no header X-CSRF-Token"),
        ({"csrf_header": "X-Own"}, "there is no header X-Own"),
        ({"csrf_cookie": "csrftoken"}, "there is no cookie csrftoken"),
    ],
)
@pytest.mark.parametrize("answer", [Answer(200, {}), Answer(200, {}, headers={"X-CSRF-Token": "Required"})])
def test_no_token(place: str, fields: dict[str, Any], said: str, answer: Answer) -> None:
    with ScriptedServer() as server:
        server.on("GET", "/token", answer)
        error = perform(place, conn(server.url, **fields), job(csrf_endpoint="token")).error
        assert error.kind == "csrf"
        assert said in error.message
        assert f"{server.url}/token" in error.message
        assert "csrf_token_endpoint" in error.message
        assert [r.method for r in server.history] == ["GET"]


@pytest.mark.parametrize("place", ONE_PROCESS)
@pytest.mark.parametrize("answer", [Answer(503), Answer(drop="before")])
def test_a_token_url_that_fails_for_the_moment(place: str, answer: Answer) -> None:
    """Nothing of the submit was sent, so it is sent again, once."""
    from airflow_provider_apitask.core.retry import RetryPolicy

    with ScriptedServer() as server:
        server.on("GET", "/token", answer, Answer(200, headers={"X-CSRF-Token": "t0k"}))
        server.on("POST", "/jobs", Answer(200, {"status": "done"}))
        call = job(csrf_endpoint="token", retry=RetryPolicy(count=2), result_request=None)
        assert perform(place, conn(server.url), call).value == {"status": "done"}
        assert [r.method for r in server.history] == ["GET", "GET", "POST"]


# -- together with credentials -----------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_with_basic(watch: Watch, place: str) -> None:
    outcome = perform(place, csrf(watch.server, "me", "w0rd-of-me"), a_job())
    assert outcome.value["rows"] == 3
    wanted = f"Basic {base64.b64encode(b'me:w0rd-of-me').decode()}"
    assert {r.header("Authorization") for r in watch.history} == {wanted}


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_with_an_api_key_in_a_cookie(watch: Watch, place: str) -> None:
    """Both cookies go in one header field."""
    key = {"auth_type": "api_key", "key_in": "cookie", "key_name": "mine", "key_secret": "k3y-of-mine"}
    assert perform(place, csrf(watch.server, **key), a_job()).value["rows"] == 3
    (submit,) = [r for r in watch.history if r.method == "POST"]
    names = {pair.partition("=")[0].strip() for pair in (submit.header("Cookie") or "").split(";")}
    assert {"mine", "csrftoken" if watch.server.header == "X-CSRFToken" else "sessionid"} <= names


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_with_oauth2_that_is_renewed_for_the_fetch(place: str) -> None:
    """A 401 to the fetch renews the credential; a 403 afterwards fetches anew: each once."""
    tokens = iter(range(1, 9))

    def guard(answer: Callable[[Recorded], Answer]) -> Callable[[Recorded], Answer]:
        def answered(request: Recorded) -> Answer:
            if request.header("Authorization") == "Bearer t0ken-1":
                return Answer(401)
            return answer(request)

        return answered

    with ScriptedServer() as server:
        server.on("POST", "/token", lambda r: Answer(json={"access_token": f"t0ken-{next(tokens)}"}))
        server.on("GET", "/jobs", guard(lambda r: Answer(200, headers={"X-CSRF-Token": "t0k"})))
        server.on("POST", "/jobs", guard(lambda r: Answer(200, {"status": "done"})))
        connection = conn(
            server.url,
            auth_type="oauth2",
            oauth2_endpoint="/token",
            oauth2_client_id=BASIC.client_id,
            oauth2_client_secret=BASIC.client_secret,
        )
        call = job(csrf_endpoint="", result_request=None)
        assert perform(place, connection, call).value == {"status": "done"}
        assert [f"{r.method} {r.path}" for r in server.history] == [
            "POST /token",
            "GET /jobs",
            "POST /token",
            "GET /jobs",
            "POST /jobs",
        ]


def test_django_over_tls_wants_a_referer(certificates: Certificates, tmp_path: Path) -> None:
    with CsrfServer("django", ssl_context=certificates.good) as server:
        connection = csrf(server, allow_http=False, ca_bundle=certificates.ca_file)
        for place in PLACES:
            watch = Watch(server)
            assert perform(place, connection, a_job()).value["rows"] == 3
            assert ("POST", "/jobs/", 202) in watch.seen
        (*_, submit) = server.requests("POST")
        assert submit.header("Referer") == f"{server.url}/"
        assert submit.header("Host") == server.url.removeprefix("https://")


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_the_token_url_must_be_trusted(place: str) -> None:
    """Neither a foreign origin nor one without credentials gives tokens."""
    with ScriptedServer() as server, ScriptedServer() as other:
        for fields in ({}, {"anonymous_origins": other.url}):
            call = job(csrf_endpoint=f"{other.url}/token")
            error = perform(place, conn(server.url, **fields), call).error
            assert error.kind == "origin"
        assert (server.history, other.history) == ([], [])


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_redirected_submit_takes_no_token_elsewhere(place: str) -> None:
    with ScriptedServer() as server, ScriptedServer() as other:
        server.on("GET", "/jobs", Answer(200, headers={"X-CSRF-Token": "t0k"}))
        server.on("POST", "/jobs", Answer(307, headers={"Location": f"{other.url}/jobs"}))
        error = perform(place, conn(server.url), job(csrf_endpoint="")).error
        assert error.kind == "origin"
        assert other.connections == 0


@pytest.mark.parametrize("place", PLACES)
def test_a_cancel_has_a_token(watch: Watch, place: str) -> None:
    outcome = perform(
        place, csrf(watch.server), a_job("token/", max_polls=1, cancel_request={"method": "DELETE"})
    )
    assert outcome.error.kind == "job_timed_out"
    assert watch.seen[-1] == ("DELETE", f"/jobs/{watch.number}/", 200)
    if place == "deferred":
        assert watch.seen[-2] == ("GET", "/token/", 200), "another process knows none yet"


# -- Django's own login ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def django_login() -> Iterator[CsrfServer]:
    with CsrfServer("django", login=True) as server:
        yield server


def logging_in(server: CsrfServer, password: str = PASSWORD, **fields: Any) -> Conn:
    """Take the form's cookie and hidden token, post them, and send the session's cookie from then on."""
    session = {
        "auth_type": "session",
        "session_endpoint": "login/",
        "session_csrf_endpoint": "login/",
        "session_body": {
            "username": "{login}",
            "password": "{password}",
            "csrfmiddlewaretoken": "{csrf_token}",
        },
        "session_body_format": "form",
        "session_path": "cookies.sessionid",
        "session_header": "Cookie",
        "session_template": "sessionid={token}",
        "login_page": "/login/",
    }
    return csrf(server, USER, password, **session, **fields)


LOGIN = [("GET", "/login/", 200), ("POST", "/login/", 302)]


@pytest.mark.parametrize("place", PLACES)
def test_login_through_a_form(django_login: CsrfServer, place: str) -> None:
    watch = Watch(django_login)
    outcome = perform(place, logging_in(django_login), a_job())
    assert outcome.value["rows"] == 3
    assert watch.seen[:4] == [*LOGIN, ("GET", "/token/", 200), ("POST", "/jobs/", 202)]
    login = watch.history[1]
    assert b"csrfmiddlewaretoken=" in login.body
    assert "csrftoken=" in (login.header("Cookie") or "")
    assert login.header("Referer") == f"{django_login.url}/"
    (submit,) = [r for r in watch.history if r.path == "/jobs/"]
    assert {"csrftoken", "sessionid"} <= set(cookie_pairs(submit.header("Cookie") or ""))
    outcome.assert_clean(PASSWORD, submit.header("X-CSRFToken"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wait", [1, 2])
def test_a_session_that_expires_while_a_job_runs_is_renewed(
    django_login: CsrfServer, place: str, wait: int
) -> None:
    watch = Watch(django_login)

    def expire(number: int) -> None:
        if number == wait:
            django_login.rotate()

    assert perform(place, logging_in(django_login), a_job(), at_wait=expire).value["rows"] == 3
    assert watch.seen.count(("POST", "/jobs/", 202)) == 1
    assert ("GET", f"/jobs/{watch.number}/", 302) in watch.seen, "a redirect to the form"
    assert watch.seen.count(LOGIN[1]) == (4 if place == "deferred" else 2)


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_session_that_expired_before_a_submit_is_renewed(django_login: CsrfServer, place: str) -> None:
    process = Process(place, logging_in(django_login))
    call = a_job(max_polls=1)
    process.run(call)
    django_login.rotate()
    watch = Watch(django_login)
    process.run(call)
    assert ("POST", "/jobs/", 202) in watch.seen
    assert watch.seen.count(LOGIN[1]) == 1


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_wrong_password_of_a_form(django_login: CsrfServer, place: str) -> None:
    watch = Watch(django_login)
    outcome = perform(place, logging_in(django_login, "wrong-w0rd"), a_job())
    assert outcome.error.kind == "authentication"
    for part in ("the session login", f"{django_login.url}/login/", "cookies.sessionid", "'the_api'"):
        assert part in outcome.error.message
    assert watch.seen == [("GET", "/login/", 200), ("POST", "/login/", 200)], "the form once more"
    outcome.assert_clean("wrong-w0rd")


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_form_over_tls_wants_a_referer(certificates: Certificates, place: str) -> None:
    with CsrfServer("django", login=True, ssl_context=certificates.good) as server:
        connection = logging_in(server, allow_http=False, ca_bundle=certificates.ca_file)
        assert perform(place, connection, sync("GET", "jobs/")).value == {"jobs": 0}


@pytest.mark.parametrize("place", ONE_PROCESS)
def test_a_static_cookie_of_a_session(django_login: CsrfServer, place: str) -> None:
    """It goes along with the cookie of the token; when it has expired, the error says so."""
    perform("worker", logging_in(django_login), sync("GET", "jobs/"))
    cookie = django_login.history[-1].header("Cookie")
    headers = {"auth_type": "headers", "headers_secret": {"Cookie": f"{cookie}; csrftoken=of-a-browser"}}
    connection = csrf(django_login, login_page="/login", **headers)
    watch = Watch(django_login)
    assert perform(place, connection, a_job()).value["rows"] == 3
    (submit,) = [r for r in watch.history if r.path == "/jobs/"]
    assert {"csrftoken", "sessionid"} == set(cookie_pairs(submit.header("Cookie") or ""))
    assert "of-a-browser" not in (submit.header("Cookie") or "")
    outcome = perform(place, connection, a_job(), at_wait=lambda number: django_login.rotate())
    assert outcome.error.kind == "authentication"
    assert watch.seen.count(("POST", "/jobs/", 202)) == 2
    for part in (f"/jobs/{watch.number}/", "/login/", "'the_api' were sent", "refused the credentials"):
        assert part in outcome.error.message
