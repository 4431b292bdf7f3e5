"""What the provider tells Airflow about itself is valid, consistent, cheap to read and true."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import airflow_provider_apitask
from airflow_provider_apitask.get_provider_info import get_provider_info

PACKAGE = Path(airflow_provider_apitask.__file__).parent
DISTRIBUTION = "airflow-provider-apitask"

# Airflow's schema for provider.yaml has them: of use to whoever publishes a provider, not to whoever runs it.
PUBLISHING_KEYS = {"state", "lifecycle", "build-system", "source-date-epoch"}
HEAVY_MODULES = {"airflow", "aiohttp", "jsonpath_ng", "oauthlib", "requests", "requests_oauthlib", "yaml"}


def read_yaml() -> dict[str, Any]:
    return yaml.safe_load((PACKAGE / "provider.yaml").read_text(encoding="utf-8"))


def airflow_schema(name: str) -> dict[str, Any]:
    """Read a schema that the installed Airflow ships, without importing Airflow."""
    folder = importlib.util.find_spec("airflow").submodule_search_locations[0]
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))


def named_modules() -> list[str]:
    info = get_provider_info()
    groups = ("operators", "sensors", "triggers", "hooks")
    return [module for group in groups for entry in info.get(group, []) for module in entry["python-modules"]]


def named_objects() -> list[str]:
    """Dotted paths of classes and functions anywhere in the provider info."""
    info = get_provider_info()
    paths = [entry["hook-class-name"] for entry in info.get("connection-types", [])]
    paths += [entry["class-name"] for entry in info.get("task-decorators", [])]
    paths += [entry["plugin-class"] for entry in info.get("plugins", [])]
    for key in ("extra-links", "notifications", "cli"):
        paths += info.get(key, [])
    return paths


def connection_types() -> Any:
    types = get_provider_info()["connection-types"]
    return pytest.mark.parametrize("connection", types, ids=[entry["connection-type"] for entry in types])


def test_yaml_is_valid_for_this_airflow() -> None:
    jsonschema.validate(read_yaml(), airflow_schema("provider.yaml.schema.json"))


def test_info_is_valid_for_this_airflow() -> None:
    jsonschema.validate(get_provider_info(), airflow_schema("provider_info.schema.json"))


def test_yaml_and_info_agree() -> None:
    document = read_yaml()
    assert set(document) >= PUBLISHING_KEYS
    assert get_provider_info() == {key: document[key] for key in document if key not in PUBLISHING_KEYS}


def test_info_is_built_anew_for_every_caller() -> None:
    get_provider_info()["connection-types"].clear()
    assert get_provider_info()["connection-types"]


def test_version_and_name_are_those_of_the_distribution() -> None:
    info = get_provider_info()
    assert info["package-name"] == DISTRIBUTION
    installed = importlib.metadata.version(DISTRIBUTION)
    assert info["versions"][0] == installed
    assert airflow_provider_apitask.__version__ == installed


def test_entry_point_leads_to_the_info() -> None:
    found = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group="apache_airflow_provider")
    assert [entry.load() for entry in found] == [get_provider_info]


def test_info_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_apitask.get_provider_info import get_provider_info\n"
        "get_provider_info()\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & HEAVY_MODULES


@pytest.mark.parametrize("module", named_modules())
def test_named_module_is_importable(module: str) -> None:
    importlib.import_module(module)


@pytest.mark.parametrize("path", named_objects())
def test_named_object_is_importable(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


@connection_types()
def test_hook_and_connection_type_name_each_other(connection: dict[str, Any]) -> None:
    module, _, name = connection["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert hook.conn_type == connection["connection-type"]
    assert hook.hook_name == connection["hook-name"]


@connection_types()
def test_connection_fields_are_optional_and_their_defaults_valid(connection: dict[str, Any]) -> None:
    for name, field in connection["conn-fields"].items():
        schema = field["schema"]
        assert "null" in schema["type"], f"{name}: without null, an empty field blocks saving the form"
        if "default" in schema:
            jsonschema.validate(schema["default"], schema)


def test_airflow_finds_the_provider_and_its_hook() -> None:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    manager = ProvidersManagerTaskRuntime()
    assert manager.providers[DISTRIBUTION].version == importlib.metadata.version(DISTRIBUTION)
    hook = manager.hooks["apitask"]
    assert hook is not None
    assert (hook.connection_type, hook.hook_name) == ("apitask", "API Task")


def test_airflow_shows_the_connection_form() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    shown = {key for key in manager.connection_form_widgets if key.startswith("extra__apitask__")}
    assert shown == {f"extra__apitask__{name}" for name in fields}
    assert manager.field_behaviours["apitask"]["relabeling"]["host"] == "Base URL"
