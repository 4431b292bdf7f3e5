"""A ready :class:`requests.Session` for DAG authors who want to drop to Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase, HTTPDigestAuth
from requests_oauthlib import OAuth2Session

from airflow_provider_apitask.core.auth import DigestAuth, OAuth2Auth, TokenAuth
from airflow_provider_apitask.core.errors import ApiTaskError, RequestFailedError
from airflow_provider_apitask.core.exchange import anonymous
from airflow_provider_apitask.core.messages import Headers, NetworkFailure, Purpose, Request
from airflow_provider_apitask.core.origins import Trust
from airflow_provider_apitask.drivers.blocking import BlockingTransport

if TYPE_CHECKING:
    from airflow_provider_apitask.hooks.connection import ApiConnection

__all__ = ["open_session"]


def open_session(connection: ApiConnection) -> requests.Session:
    """Open a session with the credentials, headers, TLS and proxy of a connection.

    Credentials are added to requests to the connection's own origins alone, also after a redirect.

    :returns: for OAuth2 an ``OAuth2Session`` with a token, else a ``requests.Session``.
    :raises ApiTaskError: where no token is to be had.
    """
    auth = connection.api.auth
    credentials = _Credentials(connection)
    if isinstance(auth, OAuth2Auth):
        token = {"access_token": credentials.token(auth), "token_type": "Bearer"}
        session: requests.Session = _OAuth2Session(token=token)
    else:
        session = _Session()
    session.auth = credentials
    options = connection.options
    session.trust_env = False
    session.headers.update(dict(connection.api.headers))
    session.verify = options.verify
    session.cert = options.cert
    session.proxies = dict(options.proxies)
    return session


class _OriginRule(requests.Session):
    """Applies the origin rule to redirects too, which requests follows by itself."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Sign the redirected request anew; raises where it leads to an origin that may not be asked."""
        if callable(self.auth):
            self.auth(prepared_request)


class _Session(_OriginRule):
    """A session of requests."""


class _OAuth2Session(_OriginRule, OAuth2Session):
    """A session of requests-oauthlib whose token is renewed by the connection's own flow."""

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; the token is added by ``auth``, under the origin rule and the HTTPS rule."""
        for name in ("withhold_token", "client_id", "client_secret"):
            kwargs.pop(name, None)
        return requests.Session.request(self, method, url, *args, **kwargs)


class _Credentials(AuthBase):
    """Signs each request of a session as the drivers would."""

    def __init__(self, connection: ApiConnection) -> None:
        self._connection = connection
        # A class of requests, which signs by itself.
        self._own: Any = connection.options.worker_auth
        auth = connection.api.auth
        if isinstance(auth, DigestAuth):
            self._own = HTTPDigestAuth(*auth.credentials)

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        api = self._connection.api
        if api.admit(str(prepared.url)) is Trust.ANONYMOUS:
            given = Headers(dict(prepared.headers))
            asked = Request(Purpose.SUBMIT, prepared.method or "GET", str(prepared.url), given)
            kept = dict(anonymous(asked, api).headers)
            for name in [name for name in prepared.headers if name not in kept]:
                del prepared.headers[name]
            return prepared
        if self._own is not None:
            signed: requests.PreparedRequest = self._own(prepared)
            return signed
        body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        request = Request(
            Purpose.SUBMIT,
            prepared.method or "GET",
            str(prepared.url),
            Headers(dict(prepared.headers)),
            # A form is part of an OAuth 1.0 signature.
            body if isinstance(body, bytes) else None,
        )
        ready = self._signed(request)
        prepared.url = ready.url
        prepared.headers.update(dict(ready.headers))
        return prepared

    def token(self, auth: TokenAuth) -> str:
        """A token that can be used now."""
        signed = self._signed(Request(Purpose.SUBMIT, "GET", self._connection.api.base_url))
        return (signed.headers.get("Authorization") or "").partition(" ")[2]

    def _signed(self, request: Request) -> Request:
        """The request with what its flow adds; the flow's own requests are sent on the way."""
        flow = self._connection.api.auth.flow(request)
        step = next(flow)
        try:
            with BlockingTransport(self._connection.api, self._connection.options) as transport:
                while not isinstance(step, Request) or not step.purpose.is_of_the_call:
                    if not isinstance(step, Request):
                        step = flow.send(None)
                        continue
                    came = transport.send_as_is(step)
                    if isinstance(came, NetworkFailure):
                        raise RequestFailedError(
                            f"{step.method} {step.url} got no answer: {came}.", url=step.url
                        )
                    step = flow.send(came)
                return step
        except ApiTaskError as error:
            raise error.redacted(self._connection.api.redactor) from None
        finally:
            flow.close()
