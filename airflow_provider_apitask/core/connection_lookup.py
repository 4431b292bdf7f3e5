"""A static credential that was refused: the connection is looked up again, once for all requests that wait.

An administrator may have rotated the credential in Airflow since this process read the connection. A flow
only asks for the lookup; the driver has it from the hooks, which know Airflow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_apitask.core.auth import Auth, Exclusive, Flow, Lookup
from airflow_provider_apitask.core.errors import OriginError
from airflow_provider_apitask.core.messages import Request
from airflow_provider_apitask.core.origins import Trust

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api

__all__ = ["LookupAuth", "Lookups"]

_UNCHANGED = "it was looked up again and has not changed"
_MOVED = "it was looked up again, and no longer sends credentials to this URL"
_REFUSED = "it was looked up again, and the refreshed connection was refused as well"


@dataclass(slots=True)
class Lookups:
    """What the lookups after a refusal have found, for all requests of an API in a process.

    :param count: lookups that have ended.
    :param found: the API by the last of them; None before the first.
    """

    count: int = 0
    found: Api | None = None


class LookupAuth(Auth):
    """The credential of an API, in place of which a lookup of the connection may find another one."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.renewal = api.auth.renewal

    def flow(self, request: Request) -> Flow:
        """Send the request; if a static credential is refused, send it once more with the one of now."""
        lookups = self._api.lookups
        count, used = lookups.count, lookups.found or self._api
        response = yield from used.auth.flow(request)
        if not used.auth.is_static or not used.auth.renewal.wanted(response):
            return response
        yield Exclusive.ENTER
        # Others may have been refused meanwhile, and have asked.
        if lookups.count == count:
            found: Api | None = yield Lookup.CONNECTION
            if found is None:
                return response
            lookups.count, lookups.found = count + 1, found
            if found is not self._api:
                self._api.redactor.inherit(found.redactor)
        yield Exclusive.LEAVE
        fresh = lookups.found
        if fresh is None or fresh is used:
            return replace(response, lookup=_UNCHANGED)
        if not _trusts(fresh, request.url):
            return replace(response, lookup=_MOVED)
        # Refused before anything was done, so that any method may go again (RFC 9110 §15.5.2).
        response = yield from fresh.auth.flow(request)
        return replace(response, lookup=_REFUSED) if fresh.auth.renewal.wanted(response) else response


def _trusts(api: Api, url: str) -> bool:
    try:
        return api.admit(url) is Trust.CREDENTIALS
    except OriginError:
        return False
