"""The API that the examples of Qarion's API call tasks call: ``api.example.com`` of their page.

==================================  =================================================================
``GET /data``                       data, a timestamp and a status, ``?status=`` chooses which;
                                    ``?seconds=`` is how long the answer takes
``POST /records``                   201 and the record with its number; JSON, form, XML or any text;
                                    the same ``Idempotency-Key`` gives the same answer again
``PUT, PATCH, DELETE /records/1``   the record as it is then; 204 for a DELETE
``GET, POST /users/{id}``           a user, with what was posted
``POST /notify/{id}``               202 and an empty body
``GET /protected``, ``…/data``      with a credential of one of the four kinds, else 401
``POST /oauth/token``               an access token for the client credentials
==================================  =================================================================

What it cannot read is 400, what it does not have 404, each with ``{"error": …}``; that of a 401 repeats the
credential.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

__all__ = ["API_KEY", "BEARER", "CLIENT_ID", "CLIENT_SECRET", "LOGIN", "PASSWORD", "QarionServer"]

LOGIN: Final = "user"
PASSWORD: Final = "pässword:of+the=page"
API_KEY: Final = "k3y-of-the-api"
BEARER: Final = "b3arer-of-the-api"
CLIENT_ID: Final = "client+of the page"
CLIENT_SECRET: Final = "s3cret/of the&client"


class QarionServer(ScriptedServer):
    """See the module's head; faults that a test scripts with ``once`` and ``on`` go before its behaviour."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        """What was posted to ``/records``, as it was read, in order."""
        self.notified: list[tuple[str, Any]] = []
        """Whom ``/notify`` was told, and what."""
        self.admitted: list[str] = []
        """By which kind of credential each request to ``/protected`` came in."""
        self._tokens: set[str] = set()
        self._kept: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def expire_tokens(self) -> None:
        """Forget the access tokens that were handed out."""
        with self._lock:
            self._tokens.clear()

    def lose(self, request: Recorded) -> Answer:
        """Carry the request out and lose its answer; for ``once``."""
        self.unscripted(request)
        return Answer(drop="before")

    def unscripted(self, request: Recorded) -> Answer:
        """What the API does."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["oauth", "token"]:
                return self._token(request)
            case "GET", ["protected", *_]:
                return self._protected(request)
            case "GET", ["data"]:
                return self._data(dict(request.query))
            case "POST", ["records"]:
                return self._new_record(request)
            case "PUT" | "PATCH", ["records", number]:
                return Answer(json={"id": int(number), **_read(request)})
            case "DELETE", ["records", _]:
                return Answer(204)
            case "GET" | "POST", ["users", user]:
                told = _read(request) if request.body else {}
                return Answer(json={"user_id": int(user), "status": "active", "told": told})
            case "POST", ["notify", user]:
                with self._lock:
                    self.notified.append((user, _read(request)))
                return Answer(202)
        return _error(404, f"there is no {request.path}")

    def _data(self, query: dict[str, str]) -> Answer:
        self.stopping.wait(float(query.get("seconds", 0)))
        status = query.get("status", "success")
        return Answer(json={"data": [1, 2, 3], "timestamp": "2026-01-02T00:00:00Z", "status": status})

    def _new_record(self, request: Recorded) -> Answer:
        try:
            record = _read(request)
        except (ValueError, ET.ParseError) as error:
            return _error(400, f"the body cannot be read: {error}")
        key = request.header("Idempotency-Key")
        told = record if isinstance(record, dict) else {}
        with self._lock:
            if key is not None and key in self._kept:
                return self._kept[key]
            self.records.append(record)
            number = len(self.records)
            answer = Answer(201, {"id": number, **told}, headers={"Location": f"/records/{number}"})
            if key is not None:
                self._kept[key] = answer
        return answer

    def _protected(self, request: Recorded) -> Answer:
        kind = self._kind(request)
        if kind is None:
            # Some APIs repeat what they were given.
            given = request.header("Authorization") or request.header("X-API-Key")
            told = {"error": f"the credential {given} is not valid"}
            return Answer(401, told, headers={"WWW-Authenticate": "Basic"})
        with self._lock:
            self.admitted.append(kind)
        return Answer(json={"admitted": kind})

    def _kind(self, request: Recorded) -> str | None:
        scheme, _, given = (request.header("Authorization") or "").partition(" ")
        with self._lock:
            known = given in self._tokens
        if scheme == "Bearer" and known:
            return "oauth2"
        if scheme == "Bearer" and given == BEARER:
            return "bearer"
        if scheme == "Basic" and given == base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode():
            return "basic"
        return "api_key" if request.header("X-API-Key") == API_KEY else None

    def _token(self, request: Recorded) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        # RFC 6749, section 2.3.1: both are encoded as in a form before they become user and password.
        pair = base64.b64decode((request.header("Authorization") or " ").partition(" ")[2]).decode()
        given = dict(parse_qsl("id={}&secret={}".format(*(pair + ":").split(":")[:2])))
        if given != {"id": CLIENT_ID, "secret": CLIENT_SECRET}:
            return Answer(401, {"error": "invalid_client"})
        if form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type"})
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._tokens.add(token)
        return Answer(json={"access_token": token, "token_type": "bearer", "expires_in": 3600})


def _read(request: Recorded) -> Any:
    """The body by its type: JSON, a form, the elements of an XML document, or text."""
    kind = (request.header("Content-Type") or "").partition(";")[0]
    if kind == "application/json":
        return json.loads(request.body)
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode()))
    if kind == "application/xml":
        return {child.tag: child.text for child in ET.fromstring(request.body)}
    return request.body.decode()


def _error(status: int, message: str) -> Answer:
    return Answer(status, {"error": message})
