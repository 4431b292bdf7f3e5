"""The trigger of an ``AssetWatcher``: it fires when a polled answer meets a condition."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.conditions import conditions_as_dicts
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.kinds import Body, Condition, Count, Pairs, Seconds, Timeout
from airflow_provider_apitask.core.messages import MAX_TRIGGERER_BYTES
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.watch import Watch, next_look

if TYPE_CHECKING:
    from airflow_provider_apitask.core.answers import Reading
    from airflow_provider_apitask.core.api import Api
    from airflow_provider_apitask.core.messages import Request, Response
    from airflow_provider_apitask.core.redaction import Redactor

__all__ = ["ApiEventTrigger"]

log = logging.getLogger(__name__)

#: Codes by which a server refuses whoever asks.
_REFUSED = frozenset({401, 403, 407})
#: Begins the key in Airflow's asset state store.
_MARK_KEY = "apitask_mark"


class Look(NamedTuple):
    """An answer that can be looked at, with what takes secrets out of it.

    :param failed: whether the check failed, as with 503: a condition may still name its code.
    """

    reading: Reading
    redactor: Redactor
    failed: bool = False


class _TypeParameterError(ParameterError, TypeError):
    """A wrong parameter: from a constructor of a trigger, a triggerer survives a TypeError alone."""


class ApiEventTrigger(BaseEventTrigger):
    """Polls a request for an ``AssetWatcher``; each answer that meets ``fire_when`` is an event, once.

    Watchers of the same request at the same interval share one poll (Airflow 3.3). An answer that has
    fired does not fire again until it changes, or the condition has ceased to hold meanwhile; this is
    kept in Airflow's asset state store (3.3), before that in the triggerer's memory.
    A check that fails is no event: it is logged, and the next is made later.

    Nothing is templated, as there is no task, and all of it is stored: no credentials.

    :param api_conn_id: connection of type ``apitask`` or ``http``, ``api_default`` by default.
    :param endpoint: path that is joined to the connection's base URL.
    :param method: HTTP method, ``GET`` by default.
    :param query_params: query parameters.
    :param headers: header fields.
    :param body: body, see ``RequestSpec``.
    :param body_format: json (default), form, xml or raw.
    :param fire_when: condition on the answer: ``{"$.state": "published"}``, ``{"status_code": 200}``, or a
        list of such; by default any 2xx. An answer other than 2xx meets only a condition that
        names its ``status_code``.
    :param watermark: path of what makes one answer different from another, such as ``$.version`` or
        ``headers.ETag``; by default the whole body, which is not enough where it holds the time.
    :param extract: names for parts of the answer that go into the event: ``{"version": "$.version"}``.
    :param poll_interval: seconds between two checks, 60 by default; doubled while they fail, up to
        sixteen times. A ``Retry-After`` is obeyed.
    :param timeout: seconds of one request, or (connect, read); by default that of the connection.
    :param max_response_bytes: longest body that is read, at most and by default 1 MiB.
    :param nested: what of these is no plain value, as Airflow stores it; not for authors.
    :raises ParameterError: naming the parameter and what is allowed.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        api_conn_id: str = "api_default",
        method: str = "GET",
        query_params: Pairs = None,
        headers: Pairs = None,
        body: Body = None,
        body_format: str = "json",
        fire_when: Condition = None,
        watermark: str | None = None,
        extract: Pairs = None,
        poll_interval: Seconds = 60,
        timeout: Timeout = None,
        max_response_bytes: Count = None,
        nested: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's **kwargs has no annotation
        self.api_conn_id = api_conn_id
        self.endpoint = endpoint
        self.method = method
        self.query_params = query_params
        self.headers = headers
        self.body = body
        self.body_format = body_format
        self.fire_when = fire_when
        self.watermark = watermark
        self.extract = extract
        self.timeout = timeout
        for name, value in (json.loads(nested) if nested else {}).items():
            setattr(self, name, value)
        try:
            if self.endpoint is None:
                raise ParameterError(
                    "endpoint is missing: the path to ask, such as '/datasets'.", parameter="endpoint"
                )
            self.poll_interval = checks.number(poll_interval, "poll_interval", above=True)
            self.max_response_bytes = checks.number(
                max_response_bytes, "max_response_bytes", minimum=1, whole=True
            )
            if self.max_response_bytes and self.max_response_bytes > MAX_TRIGGERER_BYTES:
                raise ParameterError(
                    f"max_response_bytes of a watcher must be at most {MAX_TRIGGERER_BYTES}, which is what a "
                    f"triggerer reads, not {self.max_response_bytes}.",
                    parameter="max_response_bytes",
                )
            if any(_request(self._asked()).secrets()):
                raise ParameterError(
                    "The request of a watcher is stored, so it may hold no credential: put it into the "
                    f"connection {api_conn_id!r}.",
                    parameter="headers",
                )
            self._watch = Watch.parse(self.fire_when, watermark, self.extract)
            self.fire_when = conditions_as_dicts(self._watch.fire_when)
            json.dumps([self.query_params, self.headers, self.body])
        except ParameterError as error:
            raise _TypeParameterError(error.message, **error.data) from None
        except (TypeError, ValueError) as error:
            told = f"query_params, headers and body of a watcher are stored, and have to be JSON: {error}."
            raise _TypeParameterError(told, parameter="body") from None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        told = {name: getattr(self, name) for name in ("fire_when", "watermark", "extract")}
        given = {name: item for name, item in {**self._asked(), **told}.items() if item is not None}
        flat = {name: item for name, item in given.items() if isinstance(item, (str, int, float))}
        rest = {name: item for name, item in given.items() if name not in flat}
        if rest:
            # Airflow encodes a dict in a list once more each time, and takes the watcher for another one.
            flat["nested"] = json.dumps(rest, sort_keys=True)
        return f"{type(self).__module__}.{type(self).__qualname__}", flat

    def __repr__(self) -> str:
        return f"<{type(self).__name__} conn={self.api_conn_id!r} {self.method} {self.endpoint!r}>"

    def shared_stream_key(self) -> Hashable | None:
        """Name the poll: the same for all watchers of one request at one interval."""
        return (type(self).__qualname__, json.dumps(self._asked(), sort_keys=True, default=str))

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Poll for ever; yields each answer that can be looked at, at its interval."""
        await asyncio.to_thread(_import_client)
        from airflow_provider_apitask.hooks.clients import pool_of_this_loop

        given = {**kwargs, **(json.loads(kwargs["nested"]) if kwargs.get("nested") else {})}
        asked = {name: given.get(name, default) for name, default in _ASKED.items()}
        failures = 0
        pool = pool_of_this_loop()
        async with pool.hold():
            while True:
                look, wait, failed = await _look(pool, asked)
                if failed is None:
                    if failures:
                        log.info("%s %s can be asked again.", asked["method"], asked["endpoint"])
                    failures = 0
                else:
                    failures += 1
                    # Of a server that is down for a day, not a line each minute.
                    if failures & (failures - 1) == 0:
                        log.warning("%s. Check %d in a row that fails; checks go on.", failed, failures)
                if look is not None:
                    yield look
                    look = None  # as in filter_shared_stream
                await asyncio.sleep(next_look(float(asked["poll_interval"]), failures, wait))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Fire for each answer that is news."""
        from airflow_provider_apitask.core.operation import Effort
        from airflow_provider_apitask.drivers.off_loop import off_loop

        await asyncio.to_thread(self._watch.compiled)
        fired = await self._stored_mark()
        async for look in shared_stream:
            try:
                mark, payload = await off_loop(partial(self._news, look), Effort.SEARCH)
                failed = look.failed
            except ApiTaskError as error:
                log.warning("%s. The response was not compared with fire_when.", error.message.rstrip("."))
                continue
            finally:
                del look  # its parsed document can be large, and the next one comes an interval later
            if mark is None:
                if fired and not failed:
                    fired = await self._keep_mark("")
                continue
            if mark == fired:
                continue
            yield TriggerEvent(payload)
            # Afterwards: rather twice than never, where the triggerer dies in between.
            fired = await self._keep_mark(mark)

    def _news(self, look: Look) -> tuple[str | None, dict[str, Any]]:
        """Return the mark of a response and the payload of its event; None if ``fire_when`` does not hold."""
        if not self._watch.holds(look.reading):
            return None, {}
        mark = self._watch.mark(look.reading)
        return mark, self._watch.payload(look.reading, look.redactor, self.api_conn_id)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll by itself, where Airflow shares no streams (3.2)."""
        stream = self.open_shared_stream(self.serialize()[1])
        try:
            async for event in self.filter_shared_stream(stream):
                yield event
        except asyncio.CancelledError as error:
            # It may have come while a response was read, outside of the stream, whose session has to close.
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await stream.athrow(error)
            raise

    def _asked(self) -> dict[str, Any]:
        """What names the poll."""
        timeout = list(self.timeout) if isinstance(self.timeout, tuple) else self.timeout
        return {name: timeout if name == "timeout" else getattr(self, name) for name in _ASKED}

    # -- the mark ------------------------------------------------------------------------------

    async def _stored_mark(self) -> str:
        store = self._store()
        if store is None:
            return ""
        try:
            return str(await store.aget(self._mark_key(), "") or "")
        except Exception as error:  # noqa: BLE001 - an event too many is better than a watcher that is gone
            log.warning("What has fired last could not be read from the asset state store: %r", error)
            return ""

    async def _keep_mark(self, mark: str) -> str:
        store = self._store()
        if store is not None:
            try:
                await store.aset(self._mark_key(), mark)
            except Exception as error:  # noqa: BLE001 - it is still known in this process
                log.warning("What has fired could not be kept in the asset state store: %r", error)
        return mark

    def _store(self) -> Any:
        """The state of the asset that is watched; of the first where one trigger watches for several."""
        stores = getattr(self, "asset_state_store", None)
        by_name = getattr(stores, "_by_name", None) or getattr(stores, "_by_uri", None)
        return next(iter(by_name.values())) if by_name else stores

    def _mark_key(self) -> str:
        """Of this watcher: an asset may have several."""
        kwargs = json.dumps(self.serialize()[1], sort_keys=True)
        return f"{_MARK_KEY}_{hashlib.sha256(kwargs.encode()).hexdigest()[:16]}"


#: What names a poll, and what it is by default.
_ASKED: dict[str, Any] = {
    "api_conn_id": "api_default",
    "endpoint": None,
    "method": "GET",
    "query_params": None,
    "headers": None,
    "body": None,
    "body_format": "json",
    "timeout": None,
    "poll_interval": 60,
    "max_response_bytes": None,
}


def _request(asked: dict[str, Any]) -> RequestSpec:
    names = {"query_params": "params"}
    parts = ("endpoint", "method", "query_params", "headers", "body", "body_format", "timeout")
    return RequestSpec(**{names.get(part, part): asked[part] for part in parts}).checked()


async def _look(pool: Any, asked: dict[str, Any]) -> tuple[Look | None, float | None, str | None]:
    """Ask once: the answer if it can be looked at, the wait the server asked for, and why it failed."""
    from airflow_provider_apitask.core.messages import Purpose, Response
    from airflow_provider_apitask.core.operation import Effort
    from airflow_provider_apitask.core.problem import describe
    from airflow_provider_apitask.drivers.off_loop import off_loop

    try:
        async with pool.use(asked["api_conn_id"]) as client:
            api = client.api
            request = api.build(
                _request(asked), Purpose.POLL, max_bytes=asked["max_response_bytes"] or MAX_TRIGGERER_BYTES
            )
            inbound = await client.transport.send(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next check may work
        return None, None, str(error) or repr(error)
    if isinstance(inbound, ApiTaskError):
        return None, None, inbound.redacted(api.redactor).message
    if not isinstance(inbound, Response):
        return None, None, describe(request, inbound, api.redactor.text)
    return await off_loop(partial(_read, request, inbound, api, time.time()), Effort.PARSE)


def _read(
    request: Request, inbound: Response, api: Api, now: float
) -> tuple[Look | None, float | None, str | None]:
    """Read a response, which takes too long for the event loop if it is large."""
    from airflow_provider_apitask.core.answers import Reading
    from airflow_provider_apitask.core.problem import describe
    from airflow_provider_apitask.core.retry import is_passing, retry_after

    wait = retry_after(inbound.headers, now)
    reading = Reading(request, inbound, api.redactor.text, bounded=True)
    if not inbound.ok:
        # 404 says that something is not there (yet); a condition may also name the code of a failure.
        failed = is_passing(inbound) or inbound.status in _REFUSED
        told = describe(request, inbound, api.redactor.text) if failed else None
        return Look(reading, api.redactor, failed), wait, told
    try:
        reading.refuse_html()
        reading.require_json_if_said()
    except ApiTaskError as error:
        return None, wait, error.message
    return Look(reading, api.redactor), wait, None


def _import_client() -> None:
    """In a thread: importing the HTTP client takes longer than other triggers may be kept waiting."""
    import airflow_provider_apitask.drivers.event_loop
    import airflow_provider_apitask.hooks.clients  # noqa: F401
