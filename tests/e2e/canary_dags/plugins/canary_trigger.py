"""Defects that nobody expects: exceptions in the middle of a trigger, credentials in the frames around."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

from airflow.triggers.base import TriggerEvent

from airflow_provider_apitask import ApiCallOperator, ApiStatusTrigger


class TriggerOfLibrary(ApiStatusTrigger):
    """Waits with a session that raises what is no error of HTTP."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow_provider_apitask.hooks.clients import pool_of_this_loop

        pool = pool_of_this_loop()
        async with pool.hold(), pool.use(self.api_conn_id) as client:
            transport: Any = client.transport
            kept = transport._session, transport._fresh_session
            transport._session = transport._fresh_session = Session()
            try:
                async for event in super().run():
                    yield event
            finally:
                transport._session, transport._fresh_session = kept


class Session:
    """Stands in for a session of aiohttp."""

    def request(self, method: str, url: Any, **kwargs: Any) -> NoReturn:
        seen = {name: str(value) for name, value in kwargs["headers"].items()}
        raise RuntimeError(f"a defect of the library, {len(seen)} fields")


class TriggerOfTrigger(ApiStatusTrigger):
    """Raises when the first answer came."""

    def _report(self, event: Any) -> None:
        raise LookupError(f"a defect of the trigger: {event!r}")


TRIGGERS = {"library": TriggerOfLibrary, "trigger": TriggerOfTrigger}


class CallWithDefect(ApiCallOperator):  # type: ignore[metaclass]  # known at run time only
    """Defers to one of these triggers."""

    def __init__(self, *, defect: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.defect = defect

    def defer(self, *, trigger: Any, **kwargs: Any) -> Any:
        super().defer(trigger=TRIGGERS[self.defect](**trigger.serialize()[1]), **kwargs)
