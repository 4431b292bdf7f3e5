"""Rule 18: a secret is never seen."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest

from airflow_provider_apitask.core.redaction import MASK, Redactor, is_secret_name

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
        ("sent Bearer abcdefgh to it", f"sent Bearer {MASK} to it"),
        ("icSessionId: abc", f"icSessionId: {MASK}"),
        ("next_page_token=5", "next_page_token=5"),
        ("token_type: bearer", "token_type: bearer"),
        ("status: done, code: E1", "status: done, code: E1"),
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
    begin = time.perf_counter()
    Redactor(["hunter2"]).text(piece * 20_000)
    assert time.perf_counter() - begin < 5, "quadratic would be minutes"
