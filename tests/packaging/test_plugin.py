"""The plugin is found by its entry point, and costs nothing where it is not used."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

NEEDED_BY_A_REQUEST = ("fastapi", "itsdangerous", "sqlalchemy", "airflow_provider_apitask.plugins.callback")


def test_it_is_found_and_has_a_route() -> None:
    (found,) = importlib.metadata.entry_points(group="airflow.plugins", name="apitask")
    plugin = found.load()
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == "/apitask"
    assert callable(app["app"])


def test_loading_it_imports_nothing_that_a_task_does_not_have() -> None:
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); "
        "import airflow_provider_apitask.plugins.apitask; "
        f"print([name for name in {NEEDED_BY_A_REQUEST} if name in set(sys.modules) - before])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")
