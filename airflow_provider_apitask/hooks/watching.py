"""What a test run changes of a task: somebody watches, and the task waits in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.drivers.blocking import BlockingTransport, OpenSink
from airflow_provider_apitask.hooks.api import ApiHook

if TYPE_CHECKING:
    from airflow_provider_apitask.core.events import Event
    from airflow_provider_apitask.core.job import AsyncJob
    from airflow_provider_apitask.core.messages import NetworkFailure, Request, Response
    from airflow_provider_apitask.drivers.transport import TransportOptions
    from airflow_provider_apitask.drivers.watching import Observe

__all__ = ["Exchanges", "Watch", "WatchedHook", "WatchedTransport"]


class Exchanges(Protocol):
    """Sees each request that is transmitted: logins, CSRF tokens and redirects too."""

    def asked(self, request: Request) -> None:
        """A request is about to go out."""

    def answered(self, request: Request, came: Response | NetworkFailure, seconds: float) -> None:
        """It was answered, or failed."""


class Watch(Exchanges, Protocol):
    """The one who watches a task."""

    def event(self, event: Event) -> None:
        """Take what would be a line in the log of the task."""

    def hook(self, api_conn_id: str) -> ApiHook:
        """The hook that the task is to use."""

    def job(self, job: AsyncJob) -> AsyncJob:
        """How the job is to be followed."""


class WatchedTransport(BlockingTransport):
    """A transport that tells of each request."""

    def __init__(
        self,
        api: Api,
        options: TransportOptions | None,
        exchanges: Exchanges,
        look_up: Callable[[], Api | None] = lambda: None,
    ) -> None:
        super().__init__(api, options, look_up)
        self._exchanges = exchanges

    def _transmit(
        self, request: Request, open_sink: OpenSink | None = None, observe: Observe | None = None
    ) -> Response | NetworkFailure:
        import time

        self._exchanges.asked(request)
        begun = time.monotonic()
        came = super()._transmit(request, open_sink, observe)
        self._exchanges.answered(request, came, time.monotonic() - begun)
        return came


class WatchedHook(ApiHook):
    """A hook whose transports tell of each request.

    :param exchanges: is told.
    :param opened: is told of the API, once the connection is read.
    """

    def __init__(
        self,
        api_conn_id: str,
        exchanges: Exchanges,
        opened: Callable[[Api], None] = lambda api: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(api_conn_id, **kwargs)
        self._exchanges = exchanges
        self._opened = opened

    def transport(self) -> BlockingTransport:
        """Open a session to the API; a context manager that closes it."""
        self._opened(self.api)
        return WatchedTransport(self.api, self.connection.options, self._exchanges, self.look_up_again)
