"""Sphinx configuration."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "airflow-provider-apitask"
author = "Airflow API Task contributors"
copyright = "2026, Airflow API Task contributors"
release = installed_version("airflow-provider-apitask")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "apitask_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
html_static_path = ["_static"]
html_css_files = ["apitask.css"]
html_theme = "furo"
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Two hyphens are an option, and no dash.
smartquotes = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
