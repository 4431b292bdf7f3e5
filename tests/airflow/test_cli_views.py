"""What a server has sent controls no terminal: the views of ``airflow apitask``."""

from __future__ import annotations

import io
import json
import re

import pytest

from airflow_provider_apitask.cli import log
from airflow_provider_apitask.cli.views import JsonView, PlainView, RichView, View

HOSTILE = "a\x1b[2Jb\x9b1mc\rd\u202ee\u2028f\x7f"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("value", [HOSTILE, {HOSTILE: [HOSTILE]}, [HOSTILE, 10**400]])
@pytest.mark.parametrize("view", [JsonView, PlainView, RichView])
def test_a_result(view: type[View], value: object) -> None:
    out = io.StringIO()
    with view(out) as made:
        made.result(value)
    assert _CONTROL.findall(out.getvalue().replace("\x1b[?25l", "").replace("\x1b[?25h", "")) == []


def test_json_means_the_same_value() -> None:
    out = io.StringIO()
    JsonView(out).result(HOSTILE)
    assert json.loads(out.getvalue())["value"] == HOSTILE


def test_the_table_of_the_history() -> None:
    out = io.StringIO()
    log._write_table(out, [("one", "two"), (HOSTILE, HOSTILE + "\nforged")])
    assert _CONTROL.findall(out.getvalue()) == []
    assert out.getvalue().count("\n") == 2
