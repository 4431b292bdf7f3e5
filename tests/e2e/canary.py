"""Secrets that are easily found again, a server that repeats them, and the search for them."""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

__all__ = [
    "Canaries",
    "CanaryServer",
    "Hit",
    "Sampler",
    "connections",
    "database_texts",
    "file_texts",
    "search",
]

_CORE = 42  # characters before the tail
#: Characters that are written in other ways in a URL, a form or JSON.
_TAIL = "/+&:="


@dataclass
class Canaries:
    """Distinct secrets by the place they are put in."""

    by_place: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new(self, place: str, tail: str = _TAIL) -> str:
        """Make one; ``tail`` goes behind it.

        Not a word in it sounds like a secret: what is masked is masked because it is known.
        """
        with self._lock:
            number = len(self.by_place)
            value = f"canary-{number:02d}-{secrets.token_hex(16)}{tail}"
            self.by_place[place if place not in self.by_place else f"{place} #{number}"] = value
            return value

    def rsa_key(self, place: str) -> str:
        """Make a private RSA key in PEM, of which some lines are canaries."""
        pem, canaries = "", list[str]()
        while len(canaries) < 2:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            # Behind the public half; letters and digits are written alike in a URL, a form and JSON.
            canaries = [line for line in pem.splitlines()[9:-2] if line[:_CORE].isalnum()]
        with self._lock:
            self.by_place |= {f"{place} #{number}": line for number, line in enumerate(canaries)}
        return pem

    def needles(self) -> dict[bytes, str]:
        """What is looked for, each with its place: also parts, and in Base64 wherever it begins."""
        found: dict[bytes, str] = {}
        for place, value in self.by_place.items():
            core = value[:_CORE]  # without the tail: alike in a URL, a form and JSON
            # A secret that was cut on its way to a log is one too.
            found[core[:24].encode()] = place
            found[core[-20:].encode()] = place
            found |= dict.fromkeys(_base64_forms(core), place)
            found[core[10:].encode().hex().encode()] = place
        return found


def _base64_forms(text: str) -> Iterator[bytes]:
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode())
        # Only what does not depend on what stands before and behind.
        yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


@dataclass(frozen=True)
class Hit:
    """A canary that was found."""

    place: str
    where: str
    around: str


def search(canaries: Canaries, texts: Iterable[tuple[str, bytes]]) -> tuple[list[Hit], int]:
    """Look for every canary in every text; the hits, and how many texts there were."""
    needles = canaries.needles()
    pattern = re.compile(b"|".join(map(re.escape, needles)))
    hits, count = [], 0
    for where, text in texts:
        count += 1
        for match in pattern.finditer(text):
            around = text[max(0, match.start() - 80) : match.end() + 30].decode("utf-8", "replace")
            hits.append(Hit(needles[match.group()], where, around))
    return hits, count


# -- what is searched --------------------------------------------------------------------------


def file_texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of AIRFLOW_HOME: logs, and the database as it lies on the disk, with deleted rows."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def database_texts(database: Path, fernet_key: str) -> Iterator[tuple[str, bytes]]:
    """Every value of every table; the arguments of triggers decrypted as well."""
    for table, column, value in _values(database, None):
        text = value if isinstance(value, bytes) else str(value).encode()
        yield f"table {table}.{column}", text
        if (table, column) == ("trigger", "kwargs"):
            yield "trigger arguments, decrypted", _decrypted(text, fernet_key)


def _values(database: Path, tables: Iterable[str] | None) -> Iterator[tuple[str, str, Any]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        if tables is None:
            rows = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            tables = [name for (name,) in rows]
        for table in tables:
            cursor = connection.execute(f'select * from "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    if value is not None:
                        yield table, name, value
    finally:
        connection.close()


def _decrypted(arguments: bytes, fernet_key: str) -> bytes:
    """The arguments of a trigger; Airflow 3 stores those that a task defers with as plain JSON."""
    return arguments if arguments.startswith(b"{") else Fernet(fernet_key).decrypt(arguments)


class Sampler:
    """Keeps what stands in the database for a moment only: triggers, and XComs on their way to a task."""

    def __init__(self, database: Path, fernet_key: str) -> None:
        self.texts: dict[tuple[str, bytes], None] = {}
        self._database = database
        self._key = fernet_key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def triggers(self) -> int:
        """How many different arguments of triggers were seen."""
        return sum(where == "trigger arguments, decrypted" for where, _ in self.texts)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for table, column, value in list(_values(self._database, ("trigger", "xcom"))):
                text = value if isinstance(value, bytes) else str(value).encode()
                self.texts[f"table {table}.{column}, meanwhile", text] = None
                if (table, column) == ("trigger", "kwargs"):
                    self.texts["trigger arguments, decrypted", _decrypted(text, self._key)] = None


# -- the server --------------------------------------------------------------------------------


class CanaryServer(ScriptedServer):
    """Repeats the credentials of a request in errors, links, cookies, reasons and states of progress.

    It hands out tokens of its own, and is its own forward proxy.
    """

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self.canaries = canaries
        self.paths: Counter[str] = Counter()
        self._polls: Counter[str] = Counter()
        self._numbers = iter(range(1, 10_000))

    def unscripted(self, request: Recorded) -> Answer:
        """Answer by the first part of the path."""
        path = urlsplit(request.target).path
        parts = path.strip("/").split("/")
        self.paths[parts[0]] += 1
        said = " ".join(form for value in sent(request, self.canaries) for form in _forms(value))
        cookies = [("Set-Cookie", f"sid={quote(said[:500])}; Path=/")]
        if parts[0] == "token":
            return self._token(request, parts[-1], said)
        if parts[0] == "login":
            if parts[-1] == "refused":
                return Answer(403, {"message": f"no: {said}"}, headers=cookies)
            return Answer(json={"session": self.canaries.new("session token")}, headers=cookies)
        if parts[0] in ("refuse", "break"):
            return self._refusal(request, int(parts[1]), said, cookies)
        if parts[0] == "away":
            return Answer(
                302, headers=[("Location", f"http://127.0.0.2:9/away?seen={quote(said)}"), *cookies]
            )
        if parts[0] == "jobs":
            return self._job(request, parts[1:], said, cookies)
        return Answer(json={"rows": 3}, headers=cookies)

    def _token(self, request: Recorded, mode: str, said: str) -> Answer:
        if mode in ("refused", "down"):
            body = {"error": "invalid_client", "error_description": f"who is {said}?"}
            return Answer(400 if mode == "refused" else 503, body)
        lifetime = 2 if mode == "short" else 3600
        # As long as a JSON Web Token.
        token = self.canaries.new(f"access token ({mode})", "A/b." * 400 if mode == "long" else _TAIL)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}
        if b"refresh_token" in request.body or mode == "short":
            answer["refresh_token"] = self.canaries.new("refresh token (handed out)")
        return Answer(json=answer)

    def _refusal(self, request: Recorded, status: int, said: str, cookies: list[tuple[str, str]]) -> Answer:
        headers = [("WWW-Authenticate", f'Bearer realm="{quote(said[:500])}"'), *cookies]
        if status == 403:
            headers.append(("X-CSRF-Token", self.canaries.new("CSRF token", "")))
        if status == 500:
            return Answer(status, text=f"Traceback: {said} {request.headers!r}", headers=headers)
        if status == 422:
            return Answer(status, text=f"{said} {said} {said}", headers=headers)
        problem = {"type": "about:blank", "title": "Refused", "detail": f"{said} in {request.target}"}
        return Answer(status, problem, headers=[("Content-Type", "application/problem+json"), *headers])

    def _job(self, request: Recorded, parts: list[str], said: str, cookies: list[tuple[str, str]]) -> Answer:
        mode = parts[0]
        query = "&".join(filter(None, (urlsplit(request.target).query, f"seen={quote(said, safe='')}")))
        if request.method == "POST":
            path = f"jobs/{mode}/{next(self._numbers)}"
            link = f"/{path}?{query}"
            if mode == "extract":
                return Answer(202, {"id": path[-1], "link": f"{self.url}{link}"}, headers=cookies)
            if mode == "foreign":
                link = f"http://127.0.0.2:9{link}"
            if mode == "in_path":
                link = f"/{path}/{quote(said.split(maxsplit=1)[0], safe='')}"
            headers = [("Location", link), *cookies]
            if mode == "location":
                headers = [("Operation-Location", link), ("Location", f"/results/1?{query}"), *cookies]
            return Answer(202, {"message": "accepted"}, headers=headers)
        key = "/".join(parts[:2])
        self._polls[key] += 1
        polls = self._polls[key]
        if polls == 1:
            return Answer(503, {"message": f"busy with {said}"}, headers=cookies)
        running = Answer(
            202,
            {"status": "running", "progress": said},
            headers=[("Location", f"/{'/'.join(['jobs', *parts])}?{query}"), *cookies],
        )
        if polls == 2 or mode == "endless" or (mode == "slow" and polls < 20):
            return running
        if mode == "fails":
            return Answer(json={"status": "failed", "message": f"user {said} may not"}, headers=cookies)
        if mode == "unknown":
            return Answer(json={"status": f"seen {said}"}, headers=cookies)
        if mode == "lost":
            return Answer(404, {"detail": f"no such job, {said}"}, headers=cookies)
        return Answer(json={"status": "succeeded", "rows": 3}, headers=cookies)


def sent(request: Recorded, canaries: Canaries) -> list[str]:
    """The canaries in a request, however they are encoded there."""
    texts = [unquote(urlsplit(request.target).path), request.body.decode("latin-1")]
    texts += [v for values in parse_qs(urlsplit(request.target).query).values() for v in values]
    texts += [v for values in parse_qs(request.body.decode("latin-1")).values() for v in values]
    for _, value in request.headers:
        texts += [value, unquote(value)]
        scheme, _, encoded = value.partition(" ")
        if scheme == "Basic":
            texts.append(base64.b64decode(encoded).decode("latin-1"))
    everything = "\n".join(texts)
    return [value for value in list(canaries.by_place.values()) if value[:_CORE] in everything]


def _forms(value: str) -> tuple[str, ...]:
    encoded = quote(value, safe="")
    lower = re.sub("%..", lambda match: match.group().lower(), encoded)
    return (value, encoded, lower, base64.b64encode(value.encode()).decode(), json.dumps(value))


# -- the connections ---------------------------------------------------------------------------


def connections(url: str, refused: str, canaries: Canaries) -> list[dict[str, Any]]:
    """One connection of each kind, each with secrets of its own, and some that cannot work."""
    made: list[dict[str, Any]] = []

    def new(conn_id: str, password: str | None = None, host: str = url, **extra: Any) -> None:
        record = {"connection_id": conn_id, "conn_type": "apitask", "host": host, "password": password}
        if password is not None:
            record["login"] = "ada"
        made.append({**record, "extra": json.dumps({"allow_http": True, **extra})})

    def secret(place: str) -> str:
        return canaries.new(place)

    def oauth2(conn_id: str, endpoint: str, password: str | None = None, **extra: Any) -> None:
        given = {
            "auth_type": "oauth2",
            "oauth2_endpoint": endpoint,
            "oauth2_client_id": "airflow",
            "oauth2_client_secret": secret(f"oauth2_client_secret ({conn_id})"),
        }
        new(conn_id, password, **{**given, **extra})

    def session(conn_id: str, endpoint: str) -> None:
        extra: dict[str, Any] = {
            "auth_type": "session",
            "session_endpoint": endpoint,
            "session_path": "$.session",
        }
        extra["session_body"] = {
            "user": "{login}",
            "with": "{password}",
            "pin": secret(f"session_body ({conn_id})"),
            "device": {"seed": secret(f"session_body, nested ({conn_id})")},
            "further": [1, secret(f"session_body, listed ({conn_id})")],
        }
        new(conn_id, secret(f"session password ({conn_id})"), **extra)

    new("basic", secret("password (basic)"), auth_type="basic")
    new("digest", secret("password (digest)"), auth_type="digest")
    new("bearer", auth_type="bearer", bearer_token=secret("bearer_token"))
    for place in ("header", "query", "cookie"):
        extra = {"auth_type": "api_key", "key_in": place, "key_secret": secret(f"key_secret ({place})")}
        new(f"key_{place}", **extra)
    names = ("X-User", "X-Auth-Token")
    new(
        "headers",
        auth_type="headers",
        headers_secret={name: secret(f"headers_secret {name}") for name in names},
    )
    oauth1 = {
        name: secret(name) for name in ("oauth1_client_secret", "oauth1_user_secret", "oauth1_user_token")
    }
    plain = {"oauth1_client_key": "airflow", "oauth1_signature_method": "PLAINTEXT"}
    new("oauth1", auth_type="oauth1", **plain, **oauth1)
    rsa_place, rsa_user = "oauth1_rsa_private_key", secret("oauth1_user_token (rsa)")
    signed = {"auth_type": "oauth1", "oauth1_client_key": "airflow", "oauth1_signature_method": "RSA-SHA256"}
    rsa_key = canaries.rsa_key(rsa_place)
    new("oauth1_rsa", **signed, oauth1_rsa_private_key=rsa_key, oauth1_user_token=rsa_user)
    broken = canaries.rsa_key(f"{rsa_place} (broken)")[:-200]
    new("bad_rsa", **signed, oauth1_rsa_private_key=broken)
    for name in ("broken_library", "broken_trigger"):
        new(name, auth_type="bearer", bearer_token=secret(f"bearer_token ({name})"))
    oauth2("broken_oauth2", "/token")
    oauth2("oauth2_basic", "/token")
    oauth2("oauth2_body", "/token", oauth2_client_auth="body")
    oauth2("oauth2_short", "/token/short")
    oauth2("oauth2_long", "/token/long")
    oauth2("token_refused", "/token/refused")
    oauth2("token_down", "/token/down")
    refresh = secret("oauth2_refresh_token")
    oauth2("oauth2_refresh", "/token", oauth2_grant="refresh_token", oauth2_refresh_token=refresh)
    oauth2("oauth2_password", "/token", secret("password (oauth2)"), oauth2_grant="password")
    session("session", "/login")
    session("login_refused", "/login/refused")
    proxy = {"proxy": url, "proxy_login": "ada", "proxy_password": secret("proxy_password")}
    new("proxied", host="http://canary.invalid", **proxy, headers={"X-Api-Key": secret("a default header")})
    params = {"username": "ada", "password": secret("requests_auth_params")}
    new(
        "requests",
        auth_type="requests",
        requests_auth="requests.auth.HTTPBasicAuth",
        requests_auth_params=params,
    )
    extra = {"auth_type": "api_key", "key_in": "query", "key_secret": secret("key_secret (unreachable)")}
    new("unreachable", host=refused, **extra)
    new("bad_headers", auth_type="headers", headers_secret=secret("headers_secret that is no JSON"))
    return made
