r"""The ways in which a server may spell a secret that it repeats.

Escapes (JSON, Python, HTML, percent, in any mixture and up to five layers deep) are decoded in the text,
and the secret is looked for in each layer. What no decoding of a whole text finds is a spelling of its own:
Base64, spaces as plus signs, missing line breaks. Each step is linear in the length of the text.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Collection

__all__ = ["occurs", "spans_of", "spellings_of"]

#: A text within JSON within a form within a URL has three layers, and a secret may look escaped itself.
_LAYERS = 5
#: A text without any of them has one layer.
_MARKS = ("\\", "%", "&", "\n", "\t", "\r", "  ", "\xa0")
#: A shorter piece of Base64 could be a part of any word.
_MIN_BASE64_CHARS = 10

_HEX = "[0-9A-Fa-f]"
_BYTE = r"(?:%|\\x)"
_NEXT = rf"{_BYTE}[89ABab]{_HEX}"
#: One character as something other than itself; whitespace counts as one space.
_CODED = re.compile(
    rf"""(?=[\\%&\s]) (?:
      (?P<bytes> {_BYTE}[CDcd]{_HEX}{_NEXT} | {_BYTE}[Ee]{_HEX}{_NEXT}{_NEXT}
               | {_BYTE}[Ff][0-7]{_NEXT}{_NEXT}{_NEXT} | {_BYTE}{_HEX}{{2}} )
    | (?P<pair> \\u[Dd][89ABab]{_HEX}{{2}}\\u[Dd][C-Fc-f]{_HEX}{{2}} )
    | \\u(?P<point>{_HEX}{{4}}) | \\u\{{(?P<braced>{_HEX}{{1,6}})\}} | \\U(?P<long>{_HEX}{{8}})
    | \\(?P<plain>[^\w\s]|[bfnrt])
    | (?P<entity>&(?:\#[0-9]{{1,7}}|\#[Xx]{_HEX}{{1,6}}|[A-Za-z]{{2,8}});)
    | (?P<space>\s{{2,}}|[^\S ]) )
    """,
    re.VERBOSE,
)
_SHORT = {"b": "\b", "f": "\f", "n": " ", "r": " ", "t": " "}


def spellings_of(secret: str) -> set[str]:
    """Return what to look for in each layer of a text to find a secret."""
    secret = secret.strip()
    found = {secret}
    layer = secret
    while _is_coded(layer) and (layer := _decoded(layer)) not in found:
        found.add(layer)
    found |= {text.replace("+", " ") for text in found}
    # A form has a plus sign for a space, and not for any other whitespace.
    found |= {text.replace(" ", "+") for text in found} | {_decoded(secret.replace(" ", "+"))}
    if not secret.isascii():  # UTF-8 taken for Latin-1, as header fields are
        found.add(secret.encode("utf-8", "surrogatepass").decode("latin-1"))
    words = secret.split()
    found |= {" ".join(words), "".join(words)}
    return {text for text in found | _base64_of(secret) if len(text.strip()) >= min(4, len(secret))}


def _base64_of(secret: str) -> set[str]:
    """Return Base64 of the secret, alone and as a part of something longer."""
    data = secret.encode("utf-8", "surrogatepass")
    found = {base64.b64encode(data).decode().rstrip("=")}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # Characters that hold bits of what is before or behind the secret vary with it.
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        if last - first >= _MIN_BASE64_CHARS:
            found.add(text[first:last])
    return found | {text.replace("+", "-").replace("/", "_") for text in found}


def occurs(text: str, values: Collection[str]) -> bool:
    """Return whether one of the values stands in a text, in any of its layers."""
    for _ in range(_LAYERS + 1):
        if any(value in text for value in values):
            return True
        if not _is_coded(text):
            return False
        before, text = text, _decoded(text)
        if text == before:
            return False
    return False


def spans_of(text: str, values: Collection[str]) -> list[tuple[int, int]]:
    """Return where the values stand in a text, in any of its layers: places that do not overlap, in order."""
    found: list[tuple[int, int]] = []
    # The place in the text at which each character of the layer begins.
    places: list[int] | range = range(len(text) + 1)
    for _ in range(_LAYERS + 1):
        for value in values:
            at = text.find(value)
            while at >= 0:
                found.append((places[at], places[at + len(value)]))
                at = text.find(value, at + len(value))
        if not _is_coded(text):
            break
        text, places = _next_layer(text, places)
    return _merged(found)


def _next_layer(text: str, places: list[int] | range) -> tuple[str, list[int]]:
    parts: list[str] = []
    begins: list[int] = []
    done = 0
    for match in _CODED.finditer(text):
        character = _character(match)
        if character == match[0]:  # an unknown entity
            continue
        begins += places[done : match.start()]
        parts += (text[done : match.start()], character)
        begins += [places[match.start()], *[places[match.end()]] * (len(character) - 1)]
        done = match.end()
    return "".join([*parts, text[done:]]), begins + list(places[done:])


def _is_coded(text: str) -> bool:
    return any(mark in text for mark in _MARKS)


def _decoded(text: str) -> str:
    """Return a text with one layer of escapes removed and whitespace collapsed."""
    return _CODED.sub(_character, text)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _character(match: re.Match[str]) -> str:
    kind = match.lastgroup
    text: str = match[kind] if kind is not None else ""
    if kind == "space":
        return " "
    if kind == "plain":
        return _SHORT.get(text, text)
    if kind == "bytes":
        data = bytes.fromhex(text.replace("%", "").replace("\\x", ""))
        try:
            character = data.decode()
        except UnicodeDecodeError:
            character = data.decode("latin-1")
    elif kind == "pair":
        character = text.encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    elif kind == "entity":
        character = html.unescape(text)
    else:
        point = int(text, 16)
        character = chr(point) if point < 0x110000 else "\ufffd"
    return " " if character.isspace() else character
