"""Errors that a task can end with, each typed and carrying data."""

from __future__ import annotations

from airflow_provider_apitask.core import errors as _errors
from airflow_provider_apitask.core.errors import *  # noqa: F403 - this is the public name of that module

__all__ = _errors.__all__
