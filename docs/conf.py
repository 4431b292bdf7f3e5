"""Sphinx configuration."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "airflow-provider-apitask"
author = "Airflow API Task contributors"
copyright = "2026, Airflow API Task contributors"
release = installed_version("airflow-provider-apitask")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
intersphinx_mapping: dict[str, tuple[str, None]] = {}
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]
