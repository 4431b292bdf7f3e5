r"""Escaping of characters that a server could use to forge log lines or to control a terminal.

The form is that of JSON, ``\u001b``: escaping the text of a JSON document leaves its value the same.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["quoted", "visible", "visible_lines"]

# C0, DEL, C1, bidirectional controls, and the line and paragraph separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Escape control characters, line breaks included."""
    return _CONTROL.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """Escape control characters other than tabs and line breaks."""
    return _CONTROL_IN_LINES.sub(_escaped, text.replace("\r\n", "\n"))


def quoted(value: Any) -> str:
    """Return a value for a message, a text in quotes; ``repr`` would double the backslash of an escape."""
    return f"'{visible(value)}'" if isinstance(value, str) else str(value)


def _escaped(match: re.Match[str]) -> str:
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return short.get(match[0]) or f"\\u{ord(match[0]):04x}"
