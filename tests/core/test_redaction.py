"""Rule 18: a secret is never seen."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from airflow_provider_apitask.core.redaction import MASK, Redactor, is_credential_name, is_secret_name

SECRET = 'hun/ter+2"ü\\x'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"before {SECRET} after",
        f"https://h/?x={quote(SECRET, safe='')}",
        f"https://h/{quote(SECRET)}?q",
        json.dumps({"x": SECRET}),
        json.dumps({"x": SECRET}, ensure_ascii=False),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_known_values_go_in_every_spelling(text: str) -> None:
    redacted = Redactor([SECRET]).text(text)
    assert "hun" not in redacted
    assert "ter" not in redacted.replace("after", "")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://me:pw@h/p?api_key=1&a=2#frag", f"https://{MASK}@h/p?api_key={MASK}&a=2"),
        ("see https://h/p?access_token=abc, ok", f"see https://h/p?access_token={MASK} ok"),
        ('{"api_key": "abc", "a": 1}', f'{{"api_key": "{MASK}", "a": 1}}'),
        ("{'password': 'a b'}", f"{{'password': '{MASK}'}}"),
        ("client_secret=abc&x=1", f"client_secret={MASK}&x=1"),
        ("Authorization: Bearer abcdef", f"Authorization: {MASK}"),
        ("authorization: ApiKey abc", f"authorization: {MASK}"),
        ("Cookie: a=1; b=2", f"Cookie: {MASK}"),
        ("sent Bearer abcdefg1 to it", f"sent Bearer {MASK} to it"),
        ("Digest SHA-512-256x=", f"Digest {MASK}"),
        ('Authorization: Digest username="me", response="6629fa" x', f"Authorization: {MASK}"),
        (r"{\"password\": \"a b\", \"a\": 1}", rf"{{\"password\": \"{MASK}\", \"a\": 1}}"),
        ("https://h/p;jsessionid=abc/7?a=1", f"https://h/p;jsessionid={MASK}?a=1"),
        ("icSessionId: abc", f"icSessionId: {MASK}"),
        ("next_page_token=5", "next_page_token=5"),
        ("token_type: bearer", "token_type: bearer"),
        ("status: done, code: E1", "status: done, code: E1"),
        ("job basic cannot be asked for", "job basic cannot be asked for"),
        ("Basic authentication is off, Digest auth-int", "Basic authentication is off, Digest auth-int"),
        ('WWW-Authenticate: Bearer realm="api"', 'WWW-Authenticate: Bearer realm="api"'),
        ("Invalid token: expired", "Invalid token: expired"),
        ("The signature: mismatch.", "The signature: mismatch."),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, redacted: str) -> None:
    assert Redactor().text(text) == redacted


def test_redacting_twice_takes_no_more() -> None:
    text = "401: Authorization: Bearer abcdef"
    once = Redactor().text(text)
    assert (
        Redactor().text(f"{once}. The job may still be running.") == f"{once}. The job may still be running."
    )


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True), ("X-Api-Key", True), ("apikey", True), ("Set-Cookie", True), ("sig", True),
        ("X-Auth-Token", True), ("icSessionId", True), ("Accept", False), ("page_token", False),
        ("keyword", False), ("token_type", False), ("status", False), ("X-Amz-Signature", True),
    ],
)  # fmt: skip
def test_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_headers() -> None:
    redactor = Redactor(["hunter2"])
    given = [("Authorization", "x"), ("X-Other", "has hunter2"), ("Accept", "a")]
    assert redactor.headers(given) == [("Authorization", MASK), ("X-Other", f"has {MASK}"), ("Accept", "a")]


def test_nested_data() -> None:
    data = {"a": ["hunter2", {"password": "x", "n": 5}], "n": None}
    assert Redactor(["hunter2"]).data(data) == {"a": [MASK, {"password": MASK, "n": 5}], "n": None}


def test_learned_later() -> None:
    redactor = Redactor()
    redactor.add("fresh-token", None, "", "abc")
    assert redactor.text("fresh-token abc") == f"{MASK} abc", "too short to be replaced"
    assert "fresh" not in repr(redactor)


def test_the_longer_value_first() -> None:
    assert Redactor(["abcd", "abcdefgh"]).text("abcdefgh") == MASK


def test_lines_fit_a_log() -> None:
    assert Redactor().line("a\ud800b") == "a?b"
    assert len(Redactor().line("x" * 100_000)) < 2100


def test_a_url_that_is_none() -> None:
    assert Redactor().url("http://[") == "<not a URL>"


@pytest.mark.parametrize("piece", ["x", "cookie", "token=", 'token="', "Bearer ", "a-", "token ", "https://"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    # Quadratic time would be minutes: the time limit of each test holds.
    assert Redactor(["hunter2"]).text(piece * 20_000)


# -- what is kept to be asked later ----------------------------------------------------------------

KEY = "k3y-of/the+api=="
JOB = "https://h.example/jobs/7"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (JOB, JOB),
        (f"{JOB}?a=1&b=%20", f"{JOB}?a=1&b=%20"),
        (f"{JOB}?api_key={quote(KEY, safe='')}&a=1", f"{JOB}?a=1"),
        (f"{JOB}?a=1&x={quote(quote(KEY, safe=''), safe='')}", f"{JOB}?a=1"),
        (f"{JOB}?seen={base64.b64encode(KEY.encode()).decode()}", JOB),
        (f"{JOB}?{quote(KEY, safe='')}=1", JOB),
        (f"https://h.example/jobs/{quote(KEY, safe='')}", None),
        (f"https://h.example/{KEY}/7", None),
        # The credential of somebody else is needed to ask: a pre-signed URL.
        (f"{JOB}?sig=abcdefgh", f"{JOB}?sig=abcdefgh"),
    ],
)
def test_link_goes_without_the_known_credentials(url: str, kept: str | None) -> None:
    assert Redactor([KEY]).link(url) == kept


def test_link_goes_without_a_short_credential_under_its_name_alone() -> None:
    redactor = Redactor(["jobs"])
    assert redactor.link("https://h/jobs/7?api_key=jobs&kind=jobs") == "https://h/jobs/7?kind=jobs"


def test_kept_values_have_no_known_secret() -> None:
    encoded = quote(KEY, safe="")
    given = {
        "id": 7,
        "name": "a b",
        "said": f"seen {KEY}",
        "links": [f"{JOB}?k={encoded}", f"/jobs/7?k={encoded}&a=1", f"/jobs/{encoded}"],
        "token": "next-page",
    }
    assert Redactor([KEY]).kept(given) == {
        "id": 7,
        "name": "a b",
        "said": MASK,
        "links": [JOB, "/jobs/7?a=1", MASK],
        "token": "next-page",
    }


def test_holds_takes_no_short_secret() -> None:
    redactor = Redactor(["jobs", "long-secret"])
    assert redactor.holds("a long-secret b")
    assert redactor.holds(base64.b64encode(b"long-secret").decode())
    assert not redactor.holds("https://h/jobs")
    assert not redactor.holds("long")
    assert not Redactor().holds("anything")


# -- what is got at run time -----------------------------------------------------------------------


def test_the_last_hundred_tokens_are_known() -> None:
    redactor = Redactor(["configured"])
    for number in range(250):
        redactor.learn(f"token-{number:04d}")
        redactor.learn("refresh-token")
    said = redactor.text("configured refresh-token token-0249 token-0151 token-0150")
    assert said == f"{MASK} {MASK} {MASK} {MASK} token-0150"
    assert repr(redactor).count("0") <= 3  # not 251 of them, in some spellings each


def test_what_is_configured_is_never_forgotten() -> None:
    redactor = Redactor()
    redactor.learn("shared-secret")
    redactor.add("shared-secret")
    for number in range(200):
        redactor.learn(f"token-{number:04d}")
    assert redactor.text("shared-secret") == MASK


def test_many_long_tokens_are_learned_quickly() -> None:
    """A JSON Web Token is some 1,500 characters long, and the triggerer's loop waits meanwhile."""
    redactor = Redactor()
    for number in range(100):
        redactor.learn(f"{number:04d}" + "Ab1/" * 400)
    redactor.learn("x" * 1600)
    assert redactor.text("y" * 2000) == "y" * 2000


@pytest.mark.parametrize(
    "name", ["api_key", "apikey", "X-API-Key", "token", "password", "sid", "sig", "pwd", "jwt"]
)
def test_names_of_credentials(name: str) -> None:
    assert is_credential_name(name)
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["key", "Key", "code"])
def test_names_that_may_hold_something_else(name: str) -> None:
    assert not is_credential_name(name)
    assert is_secret_name(name)  # masked all the same


@pytest.mark.parametrize("name", ["max_tokens", "maxTokens", "max_output_tokens", "page_token", "id"])
def test_harmless_names(name: str) -> None:
    assert not is_credential_name(name)
    assert not is_secret_name(name)
