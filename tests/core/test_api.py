"""Building requests, the origin rule, and the static credentials."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from airflow_provider_apitask.core.api import Api, as_timeout
from airflow_provider_apitask.core.auth import ApiKeyAuth, Auth, BasicAuth, BearerAuth, NoAuth
from airflow_provider_apitask.core.errors import AnswerError, OriginError, ParameterError
from airflow_provider_apitask.core.messages import Headers, Purpose, Request
from airflow_provider_apitask.core.origins import OriginRules
from airflow_provider_apitask.core.request_spec import RequestSpec

from .helpers import BASE, make_api


def _build(api: Api | None = None, **fields: Any) -> Request:
    options = {name: fields.pop(name) for name in ("lookup", "url", "timeout", "max_bytes") if name in fields}
    return (api or make_api()).build(RequestSpec.parse(fields, "request"), Purpose.SUBMIT, **options)


# -- rules 16 and 17 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "allow_http", "url", "admitted"),
    [
        ("https://h/v1", False, "https://h/other", True),
        ("https://h/v1", False, "https://H:443/other", True),
        ("https://h/v1", False, "https://h:8443/", False),
        ("https://h/v1", False, "https://h.evil/", False),
        ("https://h/v1", False, "https://evil/h/", False),
        ("https://h/v1", False, "https://friend/", True),
        ("https://h/v1", False, "http://h/", False),
        ("https://h/v1", True, "http://h/", False),
        ("https://h/v1", True, "http://friend/", False),
        ("http://h/v1", False, "http://h/", False),
        ("http://h/v1", True, "http://h/", True),
        ("http://h/v1", True, "http://friend/", True),
        ("http://h/v1", True, "https://h/", False),
        ("http://h/v1", True, "http://h:8080/", False),
        ("https://h/v1", False, "https://me:pw@h/", False),
        ("https://h/v1", False, "file:///etc/passwd", False),
    ],
)
def test_admit(base: str, allow_http: bool, url: str, admitted: bool) -> None:
    friends = frozenset({("https", "friend", 443), ("http", "friend", 80)})
    api = make_api(base_url=base, allow_http=allow_http, origins=OriginRules(allowed=friends))
    if admitted:
        api.admit(url)
    else:
        with pytest.raises(OriginError):
            api.admit(url)


def test_the_refusal_names_both_origins_and_the_remedy() -> None:
    with pytest.raises(OriginError) as caught:
        make_api().admit("https://evil.example/jobs?token=abc")
    for part in ("evil.example", "api.example.com", "'my_api'", "allowed_origins", "token=***"):
        assert part in caught.value.message
    with pytest.raises(OriginError, match="allow_http"):
        make_api(base_url="http://h").admit("http://h/x")


def test_user_info_is_refused_and_not_repeated() -> None:
    """One HTTP library would send it as Basic credentials, in place of those of the connection."""
    with pytest.raises(OriginError, match="user info") as caught:
        make_api().admit("https://me:hunter2@api.example.com/v1")
    assert "hunter2" not in str(caught.value.to_dict())


@pytest.mark.parametrize("endpoint", ["https://evil/", "//evil", "http://api.example.com/"])
def test_every_request_passes_it(endpoint: str) -> None:
    if endpoint.startswith("//"):
        assert _build(endpoint=endpoint).url == f"{BASE}/evil"
        return
    with pytest.raises(OriginError):
        _build(endpoint=endpoint)
    with pytest.raises(OriginError):
        _build(url=endpoint)


# -- building ------------------------------------------------------------------------------------


def test_defaults() -> None:
    request = _build(endpoint="jobs")
    assert (request.method, request.url, request.body) == ("GET", f"{BASE}/jobs", None)
    assert request.headers.get("Accept", "").startswith("application/json")
    assert "Content-Type" not in request.headers
    assert request.timeout == (10.0, 30.0)
    assert request.max_bytes == 32 * 1024 * 1024


def test_all_of_it() -> None:
    api = make_api(headers=Headers({"X-Tenant": "t", "Accept": "a/b"}), timeout=(1.0, 2.0))
    request = _build(
        api,
        method="PUT",
        endpoint="jobs?x=1",
        params={"y": [1, 2]},
        headers={"X-Many": ["a", "b"], "x-tenant": "mine", "X-None": None, "X-Bool": True, "X-Uni": "ä"},
        body={"a": 1},
        max_bytes=5,
    )
    assert request.url == f"{BASE}/jobs?x=1&y=1&y=2"
    assert request.body == b'{"a":1}'
    assert request.headers.get_all("X-Many") == ["a", "b"]
    assert request.headers.get_all("X-Tenant") == ["mine"]
    assert request.headers.get_all("Accept") == ["a/b"]
    assert request.headers.get("Content-Type") == "application/json"
    assert request.headers.get("X-Bool") == "true"
    assert "X-None" not in request.headers
    assert (request.timeout, request.max_bytes) == ((1.0, 2.0), 5)


def test_the_authors_content_type_goes_first() -> None:
    request = _build(endpoint="", body={"a": 1}, headers={"content-type": "application/merge-patch+json"})
    assert request.headers.get_all("Content-Type") == ["application/merge-patch+json"]


def test_url_where_no_endpoint_is_given() -> None:
    assert _build(url=f"{BASE}/jobs/7").url == f"{BASE}/jobs/7"
    assert _build(url=f"{BASE}/jobs/7", params={"f": "json"}).url == f"{BASE}/jobs/7?f=json"
    assert _build(url=f"{BASE}/jobs/7", endpoint="/x").url == f"{BASE}/x"
    assert _build().url == BASE


def test_the_requests_own_timeout_goes_first() -> None:
    assert _build(timeout=5).timeout == (5.0, 5.0)
    assert make_api().build(RequestSpec(timeout=(1, 2)), Purpose.POLL, timeout=9).timeout == (1.0, 2.0)
    assert as_timeout([3, 4]) == (3.0, 4.0)


def test_placeholders_are_filled_in_with_a_lookup_only() -> None:
    fields = {"endpoint": "/x/{id}", "params": {"p": "{id}"}, "headers": {"X": "{id}"}, "body": {"n": "{id}"}}
    values = {"id": "a b"}
    request = _build(**fields, lookup=values.__getitem__)
    assert (request.url, request.headers.get("X"), request.body) == (
        f"{BASE}/x/a%20b?p=a+b",
        "a b",
        b'{"n":"a b"}',
    )
    assert _build(**fields).body == b'{"n":"{id}"}'


@pytest.mark.parametrize(
    ("fields", "value", "error"),
    [
        ({"endpoint": "/x/{id}"}, "\ud800", AnswerError),
        ({"endpoint": "{id}"}, "https://evil/", OriginError),
        ({"endpoint": "{id}"}, "//evil/", OriginError),
        ({"params": {"p": "{id}"}}, {"a": 1}, ParameterError),
        ({"params": {"p": "{id}"}}, "\ud800", ParameterError),
        ({"headers": {"X": "{id}"}}, "a\r\nEvil: 1", ParameterError),
        ({"headers": {"X": "{id}"}}, "a\x00", ParameterError),
        ({"headers": {"X": "{id}"}}, {"a": 1}, ParameterError),
        ({"body": "{id}", "body_format": "raw"}, 5, ParameterError),
        ({"body": {"a": "{id}"}}, "\ud800", ParameterError),
    ],
)
def test_values_of_a_hostile_answer(fields: dict[str, Any], value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        _build(**fields, lookup=lambda path: value)


# -- credentials ---------------------------------------------------------------------------------

_ENCODED = base64.b64encode("me:pässword".encode()).decode()


@pytest.mark.parametrize(
    ("auth", "header", "query"),
    [
        (NoAuth(), None, ""),
(BasicAuth("me", "pässword"), ("Authorization", f"Basic {_ENCODED}"), ""),
        (BearerAuth("tok-1"), ("Authorization", "Bearer tok-1"), ""),
        (ApiKeyAuth("X-Api-Key", "key-1"), ("X-Api-Key", "key-1"), ""),
        (ApiKeyAuth("api_key", "k&1", "query"), None, "?api_key=k%261"),
    ],
)  # fmt: skip
def test_static_credentials(auth: Auth, header: tuple[str, str] | None, query: str) -> None:
    request = _build(endpoint="x", headers={"authorization": "mine", "x-api-key": "mine"} if header else {})
    signed = next(auth.flow(request))
    assert signed.url == request.url + query
    if header:
        assert signed.headers.get_all(header[0]) == [header[1]]
    for secret in auth.secrets:
        assert secret not in repr(auth)
