"""The route that a service calls: ``POST /apitask/callback/<token>`` of Airflow's API server.

It is open to the world, as the service has no account here. So it believes nothing but a token that it signed
itself, reads no byte of a body before that, bounds everything, and answers alike whatever is wrong with a
token. It never waits for long: the database has most of a second, then the service is to try again.

================================  ======  =====================================================
what comes                        answer  what becomes of it
================================  ======  =====================================================
a good token, the task waits      200     stored; a deferred task goes on
the same again                    200     nothing
after the end, or a later submit  200     nothing
forged, tampered with, expired    404     nothing
too long                          413     nothing
too slow                          408     nothing
too many                          429     nothing, ``Retry-After``
a WebSocket                       403     nothing
the database does not answer      503     ``Retry-After``; it may have been stored all the same
================================  ======  =====================================================
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.hooks.callback_url import ROUTE, Claim, read_token
from airflow_provider_apitask.plugins.deliver import Outcome, deliver, record
from airflow_provider_apitask.plugins.rate import Buckets

__all__ = ["MAX_BODY", "routes"]

log = logging.getLogger(__name__)

#: Longest body that is taken, bytes: it is stored in Airflow's database.
MAX_BODY = 64 * 1024
#: How long the body may take to come, and then the database to answer, seconds.
_BODY_PATIENCE = 10.0
_DATABASE_PATIENCE = 0.8
#: Close code of a WebSocket (RFC 6455 §7.4.1).
_POLICY_VIOLATION = 1008


class _Pool:
    """Threads with a queue that has a limit: a database that hangs must not fill the memory.

    :param waiting: calls that run or wait at most.
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threading.BoundedSemaphore(waiting)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any] | None:
        """Queue a call; None if the queue is full."""
        if not self._room.acquire(blocking=False):
            return None
        future = self._threads.submit(function, *args)
        future.add_done_callback(lambda _: self._room.release())
        return future


#: Deliveries that are stored at once; more wait for their turn, within the same patience. Threads of their
#: own: a database that hangs must not take those of the API server.
_deliveries = _Pool(4, 100, "apitask-callback")
#: Writes to the operation log. The response does not wait for them.
_records = _Pool(1, 100, "apitask-callback-log")
#: What one URL may be called: so often at once, then so often a second. Services that tell each step do not
#: come near it: where nothing else tells how a job ended, what is refused here would be missed.
_of_url = Buckets(burst=20, per_second=1.0)
#: What comes with no good token, from one address.
_of_stranger = Buckets(burst=20, per_second=1.0)


async def routes(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request; an ASGI application."""
    if scope["type"] not in ("http", "websocket"):
        return
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    token = str(scope["path"]).rpartition(f"{ROUTE}/")[2] if f"{ROUTE}/" in scope["path"] else ""
    # Whoever logs this request does that when it is answered: the token stays out of it.
    scope["path"] = scope["path"].replace(token, "***") if token else scope["path"]
    scope["raw_path"] = scope["path"].encode()
    if scope["type"] == "websocket":
        # The server refuses the handshake with a 403.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    status, retry_after = 500, None
    try:
        status, retry_after = await _answered(token, scope, Request(scope, receive))
    except Exception:
        log.exception("A callback could not be taken")
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status in (408, 413, 429):
        headers["Connection"] = "close"
    await JSONResponse({"status": status}, status_code=status, headers=headers)(scope, receive, send)


async def _answered(token: str, scope: Any, request: Any) -> tuple[int, int | None]:
    """The HTTP code, and after how many seconds to try again."""
    now, ticks, peer = time.time(), time.monotonic(), (scope.get("client") or ("",))[0]
    try:
        claim = read_token(token, now) if token and scope["method"] == "POST" else None
    except ApiTaskError as error:  # no key: the one who runs this server has to know
        log.error("A callback came, and cannot be checked: %s", error.message)
        claim = None
    if claim is None:
        if not _of_stranger.take(peer, ticks):
            return 429, 60
        log.info("A callback was refused: its URL is none of this Airflow's, or has expired.")
        return 404, None
    if not _of_url.take(claim.callback_id, ticks):
        _tell(claim, "refused, there were too many")
        return 429, 10
    try:
        body = await _body_of(request)
    except TimeoutError:
        _tell(claim, f"refused, its body did not arrive within {_BODY_PATIENCE:g} s")
        return 408, None
    if body is None:
        _tell(claim, f"refused, its body is longer than {MAX_BODY} bytes or was cut off")
        return 413, None
    try:
        async with asyncio.timeout(_DATABASE_PATIENCE):
            outcome, operation_id = await _stored(claim, body, request.headers.get("Content-Type"), now)
    except TimeoutError:
        _tell(claim, "not answered by the database in time, the service is to try again")
        return 503, 5
    except Exception:
        log.exception("A callback could not be stored, the service is to try again")
        return 503, 5
    _tell(claim, outcome.value)
    if _records.submit(record, claim, outcome, operation_id, len(body), now, time.time()) is None:
        log.warning("The operation log is too slow: the record of this callback is dropped.")
    return (404 if outcome is Outcome.UNKNOWN else 200), None


async def _body_of(request: Any) -> bytes | None:
    """Read the body; None if it is too long or the client disconnects.

    :raises TimeoutError: if it does not arrive in time.
    """
    from starlette.requests import ClientDisconnect

    length = request.headers.get("Content-Length", "0")
    if not length.isdecimal() or int(length[:9]) > MAX_BODY:
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    return None
    except ClientDisconnect:
        return None
    return bytes(body)


async def _stored(
    claim: Claim, body: bytes, content_type: str | None, now: float
) -> tuple[Outcome, str | None]:
    future = _deliveries.submit(deliver, claim, body, content_type, now)
    if future is None:
        raise TimeoutError
    # Shielded: a queued call that was cancelled would keep its body but free its place in the queue.
    stored: tuple[Outcome, str | None] = await asyncio.shield(asyncio.wrap_future(future))
    return stored


def _tell(claim: Claim, what: str) -> None:
    log.info(
        "A callback for task %s of DAG %s, run %s, map index %s: %s.",
        claim.task_id,
        claim.dag_id,
        claim.run_id,
        claim.map_index,
        what,
    )
