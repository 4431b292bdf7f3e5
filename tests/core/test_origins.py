"""Which origins may be asked, and with what."""

from __future__ import annotations

import pytest

from airflow_provider_apitask.core.errors import OriginError
from airflow_provider_apitask.core.origins import OriginRules, Trust

from .helpers import make_api


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://files.example.com", ("https", "files.example.com", 443)),
        ("https://Files.Example.COM/", ("https", "files.example.com", 443)),
        ("https://files.example.com:8443", ("https", "files.example.com", 8443)),
        ("HTTP://10.0.0.1:8080", ("http", "10.0.0.1", 8080)),
        ("https://[::1]:8443", ("https", "::1", 8443)),
    ],
)
def test_exact(text: str, found: tuple[str, str, int]) -> None:
    assert OriginRules.parse(allowed=[text]) == OriginRules(allowed=frozenset({found}))
    assert OriginRules.parse(anonymous=[text]) == OriginRules(anonymous=frozenset({found}))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://*.example.com", ("https", ".example.com", 443)),
        ("HTTPS://*.S3.Example.com/", ("https", ".s3.example.com", 443)),
        ("http://*.example.com:8080", ("http", ".example.com", 8080)),
    ],
)
def test_wildcards(text: str, found: tuple[str, str, int]) -> None:
    rules = OriginRules.parse(anonymous=[text])
    assert rules.anonymous_suffixes == frozenset({found})
    assert rules.schemes == {found[0]}


@pytest.mark.parametrize("end", ["/a", "/a/", "?a=1", "/?a=1", "#a"])
def test_what_is_more_than_an_origin(end: str) -> None:
    """The author means less than the host, and would give it all."""
    for given in ({"allowed": [f"https://h.example{end}"]}, {"anonymous": [f"https://h.example{end}"]}):
        with pytest.raises(OriginError, match="more than scheme, host and port"):
            OriginRules.parse(**given)


def test_a_user_in_an_origin_is_not_shown() -> None:
    with pytest.raises(OriginError, match="more than") as caught:
        OriginRules.parse(allowed=["https://me:s3cret@h.example"])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://*.example.com", "*", "https://*", "https://a.*.com"])
def test_a_wildcard_never_gets_credentials(text: str) -> None:
    with pytest.raises(OriginError, match="only anonymous origins"):
        OriginRules.parse(allowed=[text])


@pytest.mark.parametrize(
    "text",
    ["*", "https://*", "https://*.com", "https://*.", "https://a*.example.com", "https://*.*.example.com",
     "*.example.com", "ftp://*.example.com", "https://x.*.example.com", "https://*.example.com/path",
     "https://*.example.com:port"],
)  # fmt: skip
def test_wildcards_that_are_too_wide_or_none(text: str) -> None:
    with pytest.raises(OriginError):
        OriginRules.parse(anonymous=[text])


@pytest.mark.parametrize(
    "text", ["", "files.example.com", "https://", "ftp://x", "https://x:y", "http://[", "//x"]
)
def test_junk(text: str) -> None:
    for given in ({"allowed": [text]}, {"anonymous": [text]}):
        with pytest.raises(OriginError):
            OriginRules.parse(**given)


RULES = OriginRules.parse(
    allowed=["https://a.example.com", "https://both.example.com"],
    anonymous=["https://b.example.com:444", "https://*.s3.example.com", "https://both.example.com"],
)


@pytest.mark.parametrize(
    ("target", "trust"),
    [
        (("https", "a.example.com", 443), Trust.CREDENTIALS),
        (("https", "both.example.com", 443), Trust.CREDENTIALS),
        (("https", "b.example.com", 444), Trust.ANONYMOUS),
        (("https", "x.s3.example.com", 443), Trust.ANONYMOUS),
        (("https", "x.y.s3.example.com", 443), Trust.ANONYMOUS),
        (("https", "s3.example.com", 443), None),
        (("https", "evils3.example.com", 443), None),
        (("https", "x.s3.example.com.evil.example", 443), None),
        (("https", "x.s3.example.com", 444), None),
        (("http", "x.s3.example.com", 443), None),
        (("http", "a.example.com", 80), None),
        (("https", "a.example.com", 444), None),
        (("https", "b.example.com", 443), None),
    ],
)
def test_trust(target: tuple[str, str, int], trust: Trust | None) -> None:
    assert RULES.trust(target) is trust


def test_nothing_is_trusted_by_default() -> None:
    assert OriginRules().trust(("https", "a.example.com", 443)) is None
    assert OriginRules().schemes == set()
    assert OriginRules.parse() == OriginRules()


@pytest.mark.parametrize(
    ("url", "trust"),
    [
        ("https://api.example.com/x", Trust.CREDENTIALS),
        ("https://API.example.com:443/x", Trust.CREDENTIALS),
        ("https://a.example.com/x?y", Trust.CREDENTIALS),
        ("https://x.s3.example.com/?sig=1", Trust.ANONYMOUS),
    ],
)
def test_admitted(url: str, trust: Trust) -> None:
    assert make_api(origins=RULES).admit(url) is trust


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/", "https://api.example.com:444/", "http://api.example.com/", "http://a.example.com/",
     "https://u:p4ssw0rd@api.example.com/", "https://api.example.com.evil.example/", "https://api.example.com@evil.example/",
     "//api.example.com", "file:///etc/passwd"],
)  # fmt: skip
def test_refused(url: str) -> None:
    with pytest.raises(OriginError) as caught:
        make_api(origins=RULES).admit(url)
    assert "p4ssw0rd" not in caught.value.message
    assert not caught.value.retryable


def test_plain_http_among_the_allowed_needs_a_plain_api() -> None:
    rules = OriginRules.parse(allowed=["http://b.example"], anonymous=["http://c.example"])
    for url in ("http://b.example/", "http://c.example/"):
        with pytest.raises(OriginError, match="https, which is never given up"):
            make_api(origins=rules, allow_http=True).admit(url)
        with pytest.raises(OriginError, match="allow_http"):
            make_api(origins=rules, base_url="http://a.example").admit(url)
    plain = make_api(origins=rules, base_url="http://a.example", allow_http=True)
    assert plain.admit("http://b.example/") is Trust.CREDENTIALS
    assert plain.admit("http://c.example/") is Trust.ANONYMOUS
