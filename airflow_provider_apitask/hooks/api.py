"""The hook: from a connection id to an API that can be called on a worker."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_apitask.core.api import Api
from airflow_provider_apitask.core.errors import ApiTaskError
from airflow_provider_apitask.hooks.connection import CONN_TYPE, ApiConnection, read_connection
from airflow_provider_apitask.hooks.fields import ConnectionLike, fingerprint

if TYPE_CHECKING:
    import requests

    from airflow_provider_apitask.drivers.blocking import BlockingTransport

__all__ = ["ApiHook"]

log = logging.getLogger(__name__)


class ApiHook(BaseHook):
    """Access to the API that an Airflow connection of type ``apitask`` (or ``http``) describes.

    :param api_conn_id: id of the connection, ``api_default`` by default.
    """

    conn_name_attr = "api_conn_id"
    default_conn_name = "api_default"
    conn_type = CONN_TYPE
    hook_name = "API Task"

    def __init__(self, api_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.api_conn_id = api_conn_id

    @cached_property
    def connection(self) -> ApiConnection:
        """The connection, looked up once and read.

        :raises ConnectionFieldError: naming the field that is missing or wrong.
        """
        return self._read(self.get_connection(self.api_conn_id))

    def _read(self, conn: ConnectionLike) -> ApiConnection:
        from airflow_provider_apitask.hooks.masking import mask_on_worker

        self._fingerprint = fingerprint(conn)
        return read_connection(conn, mask_on_worker)

    def look_up_again(self) -> Api | None:
        """Return the API by the fields that the connection has now; the same object if none has changed.

        :returns: None if it cannot be looked up or used.
        """
        try:
            conn = self.get_connection(self.api_conn_id)
            if self._fingerprint != fingerprint(conn):
                former, self.connection = self.api, self._read(conn)
                self.api.redactor.inherit(former.redactor)
        except Exception as error:  # noqa: BLE001 - the refusal is what the request fails with
            log.warning("The connection %r could not be looked up again: %r", self.api_conn_id, error)
            return None
        return self.api

    @property
    def api(self) -> Api:
        """The API as the core sees it."""
        return self.connection.api

    def transport(self) -> BlockingTransport:
        """Open a session to the API; a context manager that closes it."""
        from airflow_provider_apitask.drivers.blocking import BlockingTransport

        return BlockingTransport(self.api, self.connection.options, self.look_up_again)

    def get_conn(self) -> requests.Session:
        """Open a ready session: credentials, headers, TLS and proxy are those of the connection.

        :returns: for OAuth2 an ``OAuth2Session`` of requests-oauthlib, else a ``requests.Session``.
        :raises ApiTaskError: where the connection cannot be used or no token is to be had.
        """
        from airflow_provider_apitask.hooks.session_transport import open_session

        return open_session(self.connection)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the health endpoint by ``GET`` or ``HEAD`` and say how far that came."""
        from airflow_provider_apitask.hooks.check import check

        try:
            report = check(self.connection)
        except ApiTaskError as error:
            return False, error.message
        return report.ok, str(report)
