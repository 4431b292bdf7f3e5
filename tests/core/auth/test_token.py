"""What all kinds with a token share: when it is got, by whom, and when again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from airflow_provider_apitask.core.auth import Exclusive, Renewal, TokenAuth
from airflow_provider_apitask.core.auth.token import Token
from airflow_provider_apitask.core.errors import AuthenticationError, LoginUnavailableError
from airflow_provider_apitask.core.messages import Purpose, Request, Response
from tests.core.helpers import make_response

from .helpers import Clock, a_request, pump, purposes

DOWN = LoginUnavailableError("no connection could be made")
LOGIN = Request(Purpose.LOGIN, "POST", "https://login.example/token")


class Numbered(TokenAuth):
    """Tokens 1, 2, 3 …"""

    def __init__(self, seconds: float | None = None, **kwargs: Any) -> None:
        self.clock = Clock()
        super().__init__(clock=self.clock, **kwargs)
        self.seconds = seconds
        self.made = 0

    def _obtain(self) -> Generator[Any, Any, Token]:
        yield from self._ask(LOGIN, "the login")
        self.made += 1
        return Token.living(f"token-{self.made}", self.clock(), self.seconds)

    def _with(self, request: Request, token: Token) -> Request:
        return request.with_headers(("Authorization", token.value))


def accepting(*tokens: str, status: int = 401) -> Any:
    def server(request: Request) -> Response:
        if request.purpose is Purpose.LOGIN or request.headers.get("Authorization") in tokens:
            return make_response(200)
        return make_response(status)

    return server


ANY = accepting(*(f"token-{n}" for n in range(1, 9)))


@pytest.mark.parametrize(
    ("seconds", "renew_at"),
    [
        (3600, 1000 + 3600 - 60), (600, 1000 + 540), (599, 1000 + 599 - 59.9), (10, 1009), (1, 1000.9),
        (0.5, 1000.45), (None, None), (0, None), (-5, None),
    ],
)  # fmt: skip
def test_when_a_token_is_renewed(seconds: float | None, renew_at: float | None) -> None:
    token = Token.living("t-s3cret", 1000.0, seconds)
    assert token.renew_at == pytest.approx(renew_at) if renew_at is not None else token.renew_at is None
    assert "s3cret" not in repr(token)


@pytest.mark.parametrize(
    ("status", "location", "wanted"),
    [
        (401, None, True), (403, None, True), (500, None, False), (200, None, False),
        (302, "/login", True), (302, "/login/", True), (303, "/login?next=%2Fjobs", True),
        (302, "/login#x", True), (302, "https://api.example.com/login?next=/", True),
        (307, "https://sso.example/login", True), (302, "login", True), (302, "../login", True),
        (302, "/logins", False), (302, "/jobs/login", False), (302, "/", False), (302, None, False),
        (200, "/login", False), (201, "/login", False), (302, "http://[", False),
    ],
)  # fmt: skip
def test_which_answers_refuse_a_credential(status: int, location: str | None, wanted: bool) -> None:
    renewal = Renewal(codes=frozenset({401, 403}), login_page="/login/")
    headers = {"Location": location} if location else {}
    url = "https://api.example.com/a" if location != "../login" else "https://api.example.com/a/b"
    assert renewal.wanted(make_response(status, None, headers, url=url)) is wanted


def test_without_a_login_page_a_redirect_is_an_answer() -> None:
    assert not Renewal().wanted(make_response(302, None, {"Location": "/login"}))
    assert Renewal().wanted(make_response(401))
    assert not Renewal().wanted(make_response(403))


def test_the_first_request_logs_in_and_the_next_does_not() -> None:
    learned: list[str] = []
    auth = Numbered(learned=learned.append)
    steps, response = pump(auth.flow(a_request()), ANY)
    assert purposes(steps) == ["ENTER", "login", "LEAVE", "submit"]
    assert response.status == 200
    assert purposes(pump(auth.flow(a_request()), ANY)[0]) == ["submit"]
    assert learned == ["token-1"]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_refusal_renews_once_and_sends_the_same_again(method: str) -> None:
    auth = Numbered()
    pump(auth.flow(a_request()), ANY)
    steps, response = pump(auth.flow(a_request(method)), accepting("token-2"))
    assert purposes(steps) == ["submit", "ENTER", "login", "LEAVE", "submit"]
    assert response.status == 200
    first, last = steps[0], steps[-1]
    assert (first.method, first.url, first.body) == (last.method, last.url, last.body)
    assert (first.headers.get("Authorization"), last.headers.get("Authorization")) == ("token-1", "token-2")


def test_a_new_token_that_is_refused_too_is_the_answer() -> None:
    steps, response = pump(Numbered().flow(a_request()), accepting())
    assert purposes(steps).count("submit") == 2
    assert purposes(steps).count("login") == 2
    assert response.status == 401


def test_other_codes_can_mean_it() -> None:
    auth = Numbered(renewal=Renewal(codes=frozenset({500})))
    steps, response = pump(auth.flow(a_request()), accepting("token-2", status=500))
    assert purposes(steps).count("login") == 2
    assert response.status == 200
    assert purposes(pump(auth.flow(a_request()), accepting(status=401))[0]) == ["submit"]


def test_a_token_is_renewed_before_it_expires() -> None:
    auth = Numbered(100)
    pump(auth.flow(a_request()), ANY)
    auth.clock.now += 89.9
    assert purposes(pump(auth.flow(a_request()), ANY)[0]) == ["submit"]
    auth.clock.now += 0.2
    assert purposes(pump(auth.flow(a_request()), ANY)[0]) == ["ENTER", "login", "LEAVE", "submit"]
    assert auth.made == 2


def test_nobody_renews_twice_at_the_start() -> None:
    auth = Numbered()
    first, second = auth.flow(a_request()), auth.flow(a_request())
    assert next(first) is Exclusive.ENTER
    assert next(second) is Exclusive.ENTER, "and its driver waits"
    assert first.send(None) is LOGIN
    assert first.send(make_response(200)) is Exclusive.LEAVE
    # The second has its turn now, and finds the token.
    assert second.send(None) is Exclusive.LEAVE
    sent = second.send(None)
    assert isinstance(sent, Request)
    assert sent.headers.get("Authorization") == "token-1"
    assert auth.made == 1
    first.close()
    second.close()


def test_nobody_renews_twice_after_a_refusal() -> None:
    auth = Numbered()
    pump(auth.flow(a_request()), ANY)
    flows = [auth.flow(a_request()) for _ in range(5)]
    for flow in flows:
        next(flow)
    for flow in flows:
        assert flow.send(make_response(401)) is Exclusive.ENTER
    assert flows[0].send(None) is LOGIN
    assert flows[0].send(make_response(200)) is Exclusive.LEAVE
    for flow in flows[1:]:
        assert flow.send(None) is Exclusive.LEAVE
        sent = flow.send(None)
        assert isinstance(sent, Request)
        assert sent.headers.get("Authorization") == "token-2"
        flow.close()
    assert auth.made == 2
    flows[0].close()


def test_a_token_that_ran_out_while_waiting_is_renewed() -> None:
    auth = Numbered(100)
    waiting = auth.flow(a_request())
    assert next(waiting) is Exclusive.ENTER
    pump(auth.flow(a_request()), ANY)
    auth.clock.now += 200
    assert waiting.send(None) is LOGIN
    waiting.close()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_login_that_fails_for_the_moment(status: int) -> None:
    auth = Numbered()
    flow = auth.flow(a_request())
    assert next(flow) is Exclusive.ENTER
    flow.send(None)
    with pytest.raises(LoginUnavailableError, match=str(status)) as caught:
        flow.send(make_response(status, {"error": "busy"}))
    assert "busy" in caught.value.message
    # Nothing is kept of it: the next one tries.
    assert purposes(pump(auth.flow(a_request()), ANY)[0]) == ["ENTER", "login", "LEAVE", "submit"]


@pytest.mark.parametrize(
    "failing", [lambda flow: flow.send(make_response(503)), lambda flow: flow.throw(DOWN)]
)
def test_who_waited_takes_the_failure_and_who_comes_later_tries(failing: Callable[[Any], Any]) -> None:
    auth = Numbered()
    first, second, third = (auth.flow(a_request()) for _ in range(3))
    for flow in (first, second):
        assert next(flow) is Exclusive.ENTER
    assert first.send(None) is LOGIN
    with pytest.raises(LoginUnavailableError) as caught:
        failing(first)
    assert next(third) is Exclusive.ENTER
    with pytest.raises(LoginUnavailableError) as shared:
        second.send(None)
    assert shared.value.message == caught.value.message
    assert shared.value is not caught.value
    assert third.send(None) is LOGIN
    assert third.send(make_response(200)) is Exclusive.LEAVE
    third.close()


def test_who_waited_for_one_that_went_away_tries() -> None:
    auth = Numbered()
    first, second = auth.flow(a_request()), auth.flow(a_request())
    for flow in (first, second):
        assert next(flow) is Exclusive.ENTER
    first.send(None)
    first.close()
    assert second.send(None) is LOGIN
    second.close()


def test_a_driver_that_goes_away_leaves_nothing_behind() -> None:
    auth = Numbered()
    flow = auth.flow(a_request())
    next(flow)
    flow.send(None)
    flow.close()
    assert purposes(pump(auth.flow(a_request()), ANY)[0]) == ["ENTER", "login", "LEAVE", "submit"]


def test_an_error_in_the_section_can_be_thrown_in() -> None:
    flow = Numbered().flow(a_request())
    next(flow)
    flow.send(None)
    with pytest.raises(RuntimeError, match="gone"):
        flow.throw(RuntimeError("gone"))


def test_a_kind_of_its_own_must_say_how() -> None:
    auth = TokenAuth(clock=Clock())
    flow = auth.flow(a_request())
    next(flow)
    with pytest.raises(NotImplementedError):
        flow.send(None)
    with pytest.raises(NotImplementedError):
        auth._with(a_request(), Token("t"))


def test_what_is_said_of_a_refusal_is_redacted() -> None:
    auth = Numbered(redact=lambda text: text.replace("s3cret", "***"))
    answer = make_response(400, {"error": "the s3cret is wrong"})
    error = auth._refusal(LOGIN, answer, "the login")
    assert isinstance(error, AuthenticationError)
    assert "the *** is wrong" in error.message
    assert "own ***" in auth._refusal(LOGIN, answer, "the login", "own s3cret").message
    assert error.data == {"status_code": 400, "url": LOGIN.url}
