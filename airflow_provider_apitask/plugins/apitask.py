"""The plugin, found by its entry point in the group ``airflow.plugins``.

Every process of Airflow imports this module, and the API server alone uses it: what a route needs is imported
by its first request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

__all__ = ["ApiTaskPlugin"]


async def _routes(scope: Any, receive: Any, send: Any) -> None:
    """The routes below ``/apitask``, as an ASGI application."""
    from airflow_provider_apitask.plugins.callback import routes

    await routes(scope, receive, send)


class ApiTaskPlugin(AirflowPlugin):
    """Adds the route that services call back."""

    name = "apitask"
    fastapi_apps = [{"app": _routes, "url_prefix": "/apitask", "name": "API Task"}]  # noqa: RUF012 - Airflow's way
