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
too many                          429     nothing, ``Retry-After``
the database does not answer      503     ``Retry-After``; it may have been stored all the same
================================  ======  =====================================================
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
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
#: Deliveries that are stored at once; more wait for their turn, within the same patience. Threads of their
#: own: a database that hangs must not take those of the API server.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="apitask-callback")
#: Writes to the operation log, which nobody who calls waits for.
_recorder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="apitask-callback-log")
#: What one URL may be called: so often at once, then so often a second. Services that tell each step do not
#: come near it: where nothing else tells how a job ended, what is refused here would be missed.
_of_url = Buckets(burst=20, per_second=1.0)
#: What comes with no good token, from one address.
_of_stranger = Buckets(burst=20, per_second=1.0)


async def routes(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request; an ASGI application."""
    if scope["type"] != "http":
        return
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    token = str(scope["path"]).rpartition(f"{ROUTE}/")[2] if f"{ROUTE}/" in scope["path"] else ""
    # Whoever logs this request does that when it is answered: the token stays out of it.
    scope["path"] = scope["path"].replace(token, "***") if token else scope["path"]
    scope["raw_path"] = scope["path"].encode()
    status, retry_after = 500, None
    try:
        status, retry_after = await _answered(token, scope, Request(scope, receive))
    except Exception:
        log.exception("A callback could not be taken")
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if status in (413, 429):
        headers["Connection"] = "close"
    await JSONResponse({"status": status}, status_code=status, headers=headers)(scope, receive, send)


async def _answered(token: str, scope: Any, request: Any) -> tuple[int, int | None]:
    """The HTTP code, and after how many seconds to try again."""
    now, peer = time.time(), (scope.get("client") or ("",))[0]
    try:
        claim = read_token(token, now) if token and scope["method"] == "POST" else None
    except ApiTaskError as error:  # no key: the one who runs this server has to know
        log.error("A callback came, and cannot be checked: %s", error.message)
        claim = None
    if claim is None:
        if not _of_stranger.take(peer, now):
            return 429, 60
        log.info("A callback was refused: its URL is none of this Airflow's, or has expired.")
        return 404, None
    if not _of_url.take(claim.callback_id, now):
        _tell(claim, "refused, there were too many")
        return 429, 10
    body = await _body_of(request)
    if body is None:
        _tell(claim, f"refused, its body is longer than {MAX_BODY} bytes or did not come in time")
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
    _recorder.submit(record, claim, outcome, operation_id, len(body), now, time.time())
    return (404 if outcome is Outcome.UNKNOWN else 200), None


async def _body_of(request: Any) -> bytes | None:
    """The body, None where it is too long or does not come."""
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
    except (TimeoutError, ClientDisconnect):
        return None
    return bytes(body)


async def _stored(
    claim: Claim, body: bytes, content_type: str | None, now: float
) -> tuple[Outcome, str | None]:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, deliver, claim, body, content_type, now)


def _tell(claim: Claim, what: str) -> None:
    log.info(
        "A callback for task %s of DAG %s, run %s, map index %s: %s.",
        claim.task_id,
        claim.dag_id,
        claim.run_id,
        claim.map_index,
        what,
    )
