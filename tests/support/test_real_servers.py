"""The servers that nobody here wrote are set up so that they behave: CSRF, digest, redirects, TLS."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from tests.support.real.csrf_server import CsrfServer
from tests.support.real.httpbin_server import HttpbinServer
from tests.support.real.tls import Certificates
from tests.support.real.wsgi import WsgiServer


def test_django_wants_cookie_and_header(session: requests.Session) -> None:
    with CsrfServer() as server:
        jobs = f"{server.url}/jobs/"
        assert session.post(jobs).status_code == 403
        token = session.get(f"{server.url}/token/").json()["csrfToken"]
        assert requests.post(jobs, headers={"X-CSRFToken": token}, timeout=5).status_code == 403
        assert session.post(jobs).status_code == 403
        assert session.post(jobs, headers={"X-CSRFToken": token}).status_code == 202
        by_cookie = session.post(jobs, headers={"X-CSRFToken": session.cookies["csrftoken"]})
        assert (by_cookie.status_code, by_cookie.headers["Location"]) == (202, "/jobs/2/")
        assert session.get(f"{jobs}1/").json() == {"id": 1, "status": "running"}
        assert session.delete(f"{jobs}1/").status_code == 403
        server.rotate()
        assert session.delete(f"{jobs}1/", headers={"X-CSRFToken": token}).status_code == 403
        fresh = session.get(f"{server.url}/token/").json()["csrfToken"]
        assert session.delete(f"{jobs}1/", headers={"X-CSRFToken": fresh}).json()["status"] == "cancelled"
        assert [r.status for r in server.requests("DELETE")] == [403, 403, 200]
        assert server.requests("POST")[3].header("X-CSRFToken") == token


def test_sap_style_gives_the_token_in_a_header(session: requests.Session) -> None:
    with CsrfServer("sap", polls=0) as server:
        jobs = f"{server.url}/jobs/"
        missing = session.post(jobs)
        assert (missing.status_code, missing.headers["X-CSRF-Token"]) == (403, "Required")
        assert "X-CSRF-Token" not in session.get(jobs).headers
        token = {"X-CSRF-Token": session.get(jobs, headers={"X-CSRF-Token": "Fetch"}).headers["X-CSRF-Token"]}
        assert requests.post(jobs, headers=token, timeout=5).headers["X-CSRF-Token"] == "Required"
        assert session.post(jobs, headers=token).status_code == 202
        assert session.get(f"{jobs}1/").json()["status"] == "succeeded"
        assert session.get(f"{jobs}1/result/").json()["rows"] == 3
        server.rotate()
        assert session.post(jobs, headers=token).status_code == 403
        token["X-CSRF-Token"] = session.head(jobs, headers={"X-CSRF-Token": "fetch"}).headers["X-CSRF-Token"]
        assert session.post(jobs, headers=token).status_code == 202


def test_django_over_tls_wants_a_referer(session: requests.Session, certificates: Certificates) -> None:
    session.verify = certificates.ca_file
    with CsrfServer(header="X-Token", ssl_context=certificates.good) as server:
        token = {"X-Token": session.get(f"{server.url}/token/").json()["csrfToken"]}
        assert session.post(f"{server.url}/jobs/", headers=token).status_code == 403
        referer = {"Referer": f"{server.url}/token/"}
        assert session.post(f"{server.url}/jobs/", headers=token | referer).status_code == 202


def test_httpbin_digest_basic_bearer(session: requests.Session) -> None:
    with HttpbinServer() as server:
        for algorithm in ("", "/MD5", "/SHA-256", "/SHA-512"):
            url = f"{server.url}/digest-auth/auth/user/passwd{algorithm}"
            assert session.get(url).status_code == 401
            assert session.get(url, auth=HTTPDigestAuth("user", "passwd")).status_code == 200
            assert session.get(url, auth=HTTPDigestAuth("user", "wrong")).status_code == 401
        assert session.get(f"{server.url}/basic-auth/u/p", auth=("u", "p")).status_code == 200
        assert session.get(f"{server.url}/basic-auth/u/p", auth=("u", "x")).status_code == 401
        assert (
            session.get(f"{server.url}/bearer", headers={"Authorization": "Bearer t"}).json()["token"] == "t"
        )
        assert session.get(f"{server.url}/bearer").status_code == 401


def test_httpbin_cookies_and_redirects(session: requests.Session) -> None:
    with HttpbinServer() as server:
        answer = session.get(f"{server.url}/cookies/set?a=1")
        assert answer.json() == {"cookies": {"a": "1"}}
        away = session.get(f"{server.url}/redirect-to?url=http://other.example/", allow_redirects=False)
        assert away.headers["Location"] == "http://other.example/"
        absolute = session.get(f"{server.url}/absolute-redirect/2", allow_redirects=False)
        assert absolute.headers["Location"] == f"{server.url}/absolute-redirect/1"
        assert session.post(f"{server.url}/anything?b=2", json=[1]).json()["json"] == [1]
        last = server.requests("POST")[0]
        assert (last.target, last.json(), last.header("Content-Type")) == (
            "/anything?b=2",
            [1],
            "application/json",
        )
        assert server.connections == 1


def test_tls_good_expired_other_host_other_ca(session: requests.Session, certificates: Certificates) -> None:
    with HttpbinServer(ssl_context=certificates.good) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            assert session.get(f"{url}/get", verify=certificates.ca_file).json()["url"] == f"{url}/get"
        redirect = f"{server.url}/absolute-redirect/1"
        assert session.get(redirect, verify=certificates.ca_file).url == f"{server.url}/get"
        assert server.connections == 2
        with pytest.raises(requests.exceptions.SSLError, match=r"self-signed certificate|unable to get"):
            requests.get(f"{server.url}/get", verify=certificates.other_ca_file, timeout=5)
    for context, reason in ((certificates.expired, "expired"), (certificates.wrong_host, "mismatch")):
        with (
            HttpbinServer(ssl_context=context) as server,
            pytest.raises(requests.exceptions.SSLError, match=reason),
        ):
            requests.get(f"{server.url}/get", verify=certificates.ca_file, timeout=5)
        assert server.history == []


def test_tls_with_client_certificates(session: requests.Session, certificates: Certificates) -> None:
    session.verify = certificates.ca_file
    stranger = certificates.stranger_cert, certificates.stranger_key
    with HttpbinServer(ssl_context=certificates.mutual) as server:
        for refused, reason in ((None, "(?i)certificate.required"), (stranger, "(?i)unknown.ca")):
            with pytest.raises(requests.exceptions.ConnectionError, match=reason):
                requests.get(f"{server.url}/get", verify=certificates.ca_file, cert=refused, timeout=5)
        for accepted in (certificates.client, certificates.client_pem):
            assert session.get(f"{server.url}/get", cert=accepted).status_code == 200
        assert len(server.history) == 2


def test_a_front_carries_large_bodies_and_lets_go_of_silent_clients(
    session: requests.Session, certificates: Certificates
) -> None:
    session.verify = certificates.ca_file
    with HttpbinServer(ssl_context=certificates.good) as server:
        silent = socket.create_connection(("127.0.0.1", server.port))
        sent = b"x" * 3_000_000
        assert session.post(f"{server.url}/anything", data=sent).json()["data"] == sent.decode()
        assert len(server.history[0].body) == len(sent)
    silent.close()


def test_an_error_of_the_application_is_answered_and_raised(session: requests.Session) -> None:
    def broken(environ: dict[str, Any], start_response: object) -> list[bytes]:
        raise LookupError(environ["PATH_INFO"])

    def run() -> None:
        with WsgiServer(broken) as server:
            assert session.get(f"{server.url}/a//b").status_code == 500
            server.wait_for(1, "GET", "/a//b")

    with pytest.raises(LookupError, match="/a//b"):
        run()


def test_the_files_are_where_they_were_asked_for(certificates: Certificates) -> None:
    files = [certificates.ca_file, certificates.client_pem, *certificates.client]
    assert all(Path(file).read_text().startswith("-----BEGIN") for file in files)
