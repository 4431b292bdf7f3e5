"""The core stands alone: importing it imports no Airflow and no HTTP library."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from airflow_provider_apitask import core

_HEAVY = (
    "airflow",
    "requests",
    "aiohttp",
    "jsonpath_ng",
    "jsonschema",
    "referencing",
    "asyncio",
    "ssl",
    "urllib3",
)


def test_core_imports_nothing_heavy() -> None:
    names = [module.name for module in pkgutil.walk_packages(core.__path__, "airflow_provider_apitask.core.")]
    assert "airflow_provider_apitask.core.operation" in names
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == "[]"
