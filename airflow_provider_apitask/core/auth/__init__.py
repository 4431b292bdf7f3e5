"""Authentication as flows that never send: they yield requests and are given the answers."""

from __future__ import annotations

from airflow_provider_apitask.core.auth.base import (
    Auth,
    DriverAuth,
    Exclusive,
    Flow,
    Lookup,
    NoAuth,
    Renewal,
    Steps,
)
from airflow_provider_apitask.core.auth.digest import DigestAuth
from airflow_provider_apitask.core.auth.oauth1 import OAuth1Auth, OAuth1Settings
from airflow_provider_apitask.core.auth.oauth2 import OAuth2Auth, OAuth2Settings
from airflow_provider_apitask.core.auth.session import SessionAuth, SessionSettings
from airflow_provider_apitask.core.auth.static import ApiKeyAuth, BasicAuth, BearerAuth, HeadersAuth
from airflow_provider_apitask.core.auth.token import TokenAuth

__all__ = [
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "DigestAuth",
    "DriverAuth",
    "Exclusive",
    "Flow",
    "HeadersAuth",
    "Lookup",
    "NoAuth",
    "OAuth1Auth",
    "OAuth1Settings",
    "OAuth2Auth",
    "OAuth2Settings",
    "Renewal",
    "SessionAuth",
    "SessionSettings",
    "Steps",
    "TokenAuth",
]
