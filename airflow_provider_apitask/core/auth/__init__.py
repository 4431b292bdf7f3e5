"""Authentication as flows that never send: they yield requests and are given the answers."""

from __future__ import annotations

from airflow_provider_apitask.core.auth.base import Auth, Flow, NoAuth
from airflow_provider_apitask.core.auth.static import ApiKeyAuth, BasicAuth, BearerAuth

__all__ = ["ApiKeyAuth", "Auth", "BasicAuth", "BearerAuth", "Flow", "NoAuth"]
