"""The lower bounds of what this package requires."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
#: Requirements with known vulnerabilities: the first release without one.
SAFE = {
    "aiohttp": "3.14.4",  # CVE-2025-69223, CVE-2026-34513, 34993, 47265, 54273, 59881, 69243 and others
    "apache-airflow-providers-common-sql": "1.24.1",  # CVE-2025-30473
    "apache-airflow-providers-http": "6.0.0",  # CVE-2025-69219
    "certifi": "2024.7.4",  # CVE-2024-39689
    "lxml": "6.1.0",  # CVE-2026-41066
    "oauthlib": "4.0.0",  # CVE-2026-49264, CVE-2026-118669
    "psutil": "5.6.6",  # CVE-2019-18874
    "pyyaml": "5.4",  # CVE-2020-14343
    "requests": "2.33.0",  # CVE-2024-47081, CVE-2026-25645
    "urllib3": "2.8.0",  # CVE-2025-66418, 66471, 2026-21441, 44431, 44432, 97687 to 97689
    "xmltodict": "0.15.1",  # CVE-2025-9375
}


def _bounds() -> dict[str, Version]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = {}
    for text in project["dependencies"]:
        requirement = Requirement(text)
        (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
        bounds[requirement.name] = Version(bound)
    return bounds


@pytest.mark.parametrize("name", SAFE)
def test_a_lower_bound_excludes_releases_with_known_vulnerabilities(name: str) -> None:
    assert _bounds()[name] >= Version(SAFE[name])


def test_the_oldest_constraints_are_within_the_lower_bounds() -> None:
    lines = (ROOT / "constraints" / "airflow-oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.partition(" ;")[0].split("==") for line in lines if "==" in line.partition(" ;")[0])
    bounds = _bounds()
    assert {name: pinned[name] for name in bounds if Version(pinned[name]) < bounds[name]} == {}
