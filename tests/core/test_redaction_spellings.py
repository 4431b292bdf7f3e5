"""Secrets that a server repeats, in every spelling and embedding: none survives, the words beside them do.

A few hundred cases by default; ``APITASK_FUZZ_EXAMPLES`` asks for more of them, with a seed of their own.
"""

from __future__ import annotations

import base64
import html
import itertools
import json
import os
import random
import re
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from airflow_provider_apitask.core.ledger import Ledger, Owner
from airflow_provider_apitask.core.redaction import MASK, Redactor
from airflow_provider_apitask.core.state import Phase, State

from .helpers import BASE, T0, Driven, make_api, make_call, make_job

pytestmark = pytest.mark.once

_LONG = "APITASK_FUZZ_EXAMPLES" in os.environ
_EXAMPLES = int(os.environ.get("APITASK_FUZZ_EXAMPLES", "300"))
_SEED = random.SystemRandom().randrange(2**32) if _LONG else 12

Spelling = Callable[[str], str]


def _unicode_escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))


SPELLINGS: dict[str, Spelling] = {
    "plain": str,
    "json": lambda s: json.dumps(s)[1:-1],
    "json of PHP": lambda s: json.dumps(s)[1:-1].replace("/", r"\/"),
    "json of .NET": lambda s: "".join(
        f"\\u{ord(c):04X}" if c in "=+&<>'\"" else json.dumps(c)[1:-1] for c in s
    ),
    "json in json": lambda s: json.dumps(json.dumps(s)[1:-1].replace("/", r"\/"))[1:-1],
    "utf-16 escapes": _unicode_escaped,
    "python": lambda s: repr(s)[1:-1],
    "python bytes": lambda s: repr(s.encode())[2:-1],
    "html": html.escape,
    "html, decimal": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "html, hexadecimal": lambda s: re.sub(r"\W", lambda m: f"&#x{ord(m[0]):X};", s),
    "percent": lambda s: quote(s, safe=""),
    "percent, path": quote,
    "percent, lower case": lambda s: re.sub("%..", lambda m: m[0].lower(), quote(s, safe="")),
    "percent, twice": lambda s: quote(quote(s, safe=""), safe=""),
    "percent, all": lambda s: "".join(f"%{byte:02X}" for byte in s.encode()),
    "form": quote_plus,
    "form in json": lambda s: json.dumps(quote_plus(s))[1:-1].replace("/", r"\/"),
    "json in form": lambda s: quote_plus(json.dumps(s)[1:-1]),
    "html of json": lambda s: html.escape(json.dumps(s)[1:-1]),
    "collapsed": lambda s: " ".join(s.split()),
    "without spaces": lambda s: "".join(s.split()),
    "spread": lambda s: re.sub(r"\s", "\r\n\t ", s),
    "mojibake": lambda s: s.encode().decode("latin-1"),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64, no padding": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "base64, URL": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64, percent": lambda s: quote(base64.b64encode(s.encode()).decode(), safe=""),
    "base64, with a user": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64, in a text": lambda s: base64.b64encode(f"a=1; t={s}; x".encode()).decode(),
}
EMBEDDINGS = (
    "the value {} was refused",
    "{}",
    "before({})after",
    '{{"detail": "got {}", "code": 7}}',
    "<p title='{}'>refused</p>",
    "https://h.example/jobs/7?seen={}&page=2 was refused",
    "line one\nline two: {}\nline three",
    "{{'a': '100% {}', 'b': 2}}",
    "&gt; {} &lt;",
)


def _secrets(rng: random.Random) -> list[str]:
    """Secrets of all kinds: tokens, passwords with odd characters, keys of several lines."""
    alphabets = (
        string.ascii_letters + string.digits,
        string.ascii_letters + string.digits + "+/=",
        string.ascii_letters + string.digits + "&<>\"'\\/=+%#?;:@ ~",
        "äöüß€😀漢字" + string.ascii_letters + string.digits,
    )
    found = ["".join(rng.choices(letters, k=rng.choice((12, 17, 40)))).strip() for letters in alphabets]
    body = "\n".join("".join(rng.choices(alphabets[1], k=64)) for _ in range(3))
    found.append(f"-----BEGIN KEY-----\n{body}\n-----END KEY-----\n")
    found.append(f"{found[0][:6]}%2B\\u003d{found[0][6:]}")  # looks escaped, and is not
    return found


def _pieces(spelled: str) -> set[str]:
    """What must not be left of a secret: any eight characters of how it was spelled."""
    plain = re.sub(r"-----(?:BEGIN|END).KEY-----", "", spelled)
    return {plain[i : i + 8] for i in range(max(1, len(plain) - 7))} if len(plain) >= 8 else {plain}


def _left(shown: str, spelled: str, embedding: str) -> list[str]:
    around = embedding.format("\0")
    return [piece for piece in _pieces(spelled) if piece in shown and piece not in around]


def _cases() -> list[tuple[str, str, str]]:
    rng = random.Random(_SEED)
    everything: list[tuple[str, str, str]] = []
    while len(everything) < _EXAMPLES:
        secrets = _secrets(rng)
        everything += [
            (secret, name, embedding)
            for secret, name, embedding in itertools.product(secrets, SPELLINGS, EMBEDDINGS)
        ]
    return rng.sample(everything, _EXAMPLES)


def test_no_spelling_of_a_secret_survives() -> None:
    for secret, name, embedding in _cases():
        redactor = Redactor(["another-secret", secret])
        spelled = SPELLINGS[name](secret)
        text = embedding.format(spelled)
        shown = [
            redactor.text(text),
            redactor.line(text),
            str(redactor.data({"a": [text], text: 1})),
            str(redactor.headers([("X-Seen", text)])),
            redactor.url(f"https://h.example/{quote(text)}"),
        ]
        for said in shown:
            # Of Base64 that has more in it than the secret, the rest may be left.
            within = name in ("base64, with a user", "base64, in a text")
            assert MASK in said, (_SEED, secret, name, text, said)
            assert within or not _left(said, spelled, embedding), (_SEED, secret, name, text, said)


def test_what_only_looks_like_an_entity_is_masked_whole() -> None:
    assert Redactor(["se/cret&Abc"]).text(r"got se\/cret\u0026Abc; then") == f"got {MASK}; then"


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("name", SPELLINGS)
def test_the_words_beside_a_secret_survive(name: str, embedding: str) -> None:
    secret = "S3cret/värde+1=\"<&>' 9"
    text = embedding.format(SPELLINGS[name](secret))
    said = Redactor([secret]).mask(text)
    words = re.findall(r"[a-z]{3,}|[0-9]+", embedding.replace("{}", " "))
    assert [word for word in words if word not in said] == []


WORDS = [
    "job basic cannot be asked for",
    "Basic authentication failed: the password is wrong",
    "Digest auth-int is unsupported",
    "Bearer token expired",
    "the token expired, the cookie is stale",
    "Invalid token: expired",
    "100% done & dusted, see C:\\new\\table",
    "a  text\twith\nodd   spaces",
    "status: done, key: value, code: 7",
]


@pytest.mark.parametrize("text", WORDS)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    secrets = _secrets(random.Random(_SEED))
    assert Redactor(secrets).text(text) == text


SECRET = 'tok/en+with="quotes"&more'


@pytest.mark.parametrize("name", SPELLINGS)
def test_none_reaches_events_state_records_or_the_error(name: str) -> None:
    spelled = SPELLINGS[name](SECRET)
    job = make_job(progress_path="$.p", message_path="$.m", link_path="$.l", error_path="$.why")
    state = State(phase=Phase.POLL, job_id="7", status_url=f"{BASE}/jobs/7", submitted_at=T0)
    api = make_api(redactor=Redactor([SECRET]))
    ledger = Ledger(Owner(), iter(map(str, itertools.count())).__next__)
    driven = Driven(make_call(job=job), api, state, ledger=ledger)
    said = {
        "m": f"got {spelled} here",
        "p": {"at": spelled, spelled: 1},
        "l": f"https://h/{quote(spelled)}?t=1",
    }
    driven.answer(200, {"status": "running", **said})
    driven.answer(503, {"error": {"message": f"no {spelled} yet"}})
    driven.answer(200, {"status": "failed", "why": f"bad {spelled} given", **said})
    error = driven.error()
    stored: list[Any] = [driven.state.to_dict(), error.to_dict(), [r.to_dict() for r in ledger.take()]]
    stored += [[event.message, event.data] for event in driven.events]
    shown = json.dumps(stored, ensure_ascii=False)
    for spelling in (spelled, json.dumps(spelled)[1:-1], quote(spelled), SECRET[:8]):
        assert spelling not in shown
    assert "bad" in error.message
    assert "given" in error.message


# -- characters that control a terminal or a log ----------------------------------------------------

HOSTILE = "a\x1b[2Jb\x9b1mc\rd\ne\x7ff\u202eg\u2028h\u2066i\0j\x85k"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def test_control_characters_are_escaped() -> None:
    assert Redactor().line(HOSTILE) == (
        r"a\u001b[2Jb\u009b1mc\rd\ne\u007ff\u202eg\u2028h\u2066i\u0000j\u0085k"
    )
    assert Redactor().text("a\r\n\tb\x1b") == "a\n\tb\\u001b"
    once = Redactor().line(HOSTILE)
    assert Redactor().line(once) == once, "it is redacted more than once on its way"


def test_no_control_character_reaches_events_state_records_or_the_error() -> None:
    job = make_job(progress_path="$.p", message_path="$.m", link_path="$.l", error_path="$.why")
    state = State(phase=Phase.POLL, job_id=HOSTILE, status_url=f"{BASE}/jobs/7", submitted_at=T0)
    ledger = Ledger(Owner(), iter(map(str, itertools.count())).__next__)
    driven = Driven(make_call(job=job), None, state, ledger=ledger)
    said = {"m": HOSTILE, "p": {HOSTILE: HOSTILE}, "l": f"https://h/{HOSTILE}"}
    driven.answer(200, {"status": "running", **said})
    driven.answer(503, {"error": {"message": HOSTILE}})
    driven.answer(503, HOSTILE.encode(), content_type="text/plain")
    driven.answer(200, {"status": "failed", "why": HOSTILE, **said})
    error, ended = driven.error(), driven.state
    shown: list[Any] = [ended.status, ended.progress, ended.message, ended.link, ended.error]
    shown += [error.message, error.data, *((event.message, event.data) for event in driven.events)]
    shown += [record.to_dict() for record in ledger.take()]
    assert _CONTROL.findall(" ".join(_texts(shown))) == []
    assert ended.job_id == HOSTILE, "later requests need it as it is"


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
