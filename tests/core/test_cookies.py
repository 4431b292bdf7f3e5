"""Cookies of a response; deleted ones are tested with CSRF tokens."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.cookies import set_cookies

from .helpers import make_response


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        (["a=1; Path=/", " b = 2 ;HttpOnly"], {"a": "1", "b": "2"}),
        (["a=1", "a=2"], {"a": "2"}),
        (["a=x=y"], {"a": "x=y"}),
        (["a="], {"a": ""}),
        (['a="1"'], {"a": '"1"'}),  # as it is sent back
        (["a=1; Max-Age=99999999999999999999; Expires="], {"a": "1"}),
        (["", ";", "=1", "a", "a;b=1", "\x00=1", "a=\r", "a=1\x7f"], {}),
        (["a=1; Expires=Thu, 01 Jan 99999999999999999999 00:00:00 GMT"], {"a": "1"}),
        (["a=1; Expires=Thu, 01 Jan 1970 00:00:00 +9999"], {"a": "1"}),
        (["a=1; Expires=, , ,", "b=1; Expires=1 2 3 4 5 6 7"], {"a": "1", "b": "1"}),
    ],
)
def test_what_is_set(lines: list[str], cookies: dict[str, str]) -> None:
    fields = {"Set-Cookie": lines, "Date": "junk"}
    assert set_cookies(make_response(200, None, fields)) == cookies  # type: ignore[arg-type]


def test_a_long_field() -> None:
    """http.cookies needs seconds for this one."""
    assert set_cookies(make_response(200, None, {"Set-Cookie": f"a=1; {'b=' * 32_000}"})) == {"a": "1"}
