"""Watching a polled answer: whether it is news, and when to look again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.answers import Reading, find_in
from airflow_provider_apitask.core.conditions import parse_conditions, paths_of, which_applies
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError
from airflow_provider_apitask.core.extraction import MISSING, check_path, compile_path
from airflow_provider_apitask.core.portable import as_carried
from airflow_provider_apitask.core.redaction import Redactor
from airflow_provider_apitask.core.retry import grown
from airflow_provider_apitask.core.urls import wire_text

__all__ = ["Watch", "next_look"]

#: Shortest and longest wait that is taken from a server, seconds.
_SHORTEST, _LONGEST = 1.0, 3600.0
#: How often the interval is doubled at most while checks fail.
_DOUBLINGS = 4


def next_look(poll_interval: float, failures: int, asked: float | None) -> float:
    """Seconds until the next look: the server's ``Retry-After``, else the interval, longer after failures.

    :param failures: checks that have failed in a row.
    :param asked: seconds that the server asked for.
    """
    if asked is not None:
        return max(min(_SHORTEST, poll_interval), min(asked, _LONGEST))
    return grown(poll_interval, 2.0, min(failures, _DOUBLINGS), max(_LONGEST, poll_interval))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What somebody wants to hear of.

    :param fire_when: conditions, as in ``AsyncJob``; None for any 2xx.
    :param watermark: path of what makes one answer different from another; None for the whole body.
    :param extract: names for what is told of an answer, with their paths.
    """

    fire_when: Any = None
    watermark: str | None = None
    extract: Any = None

    @classmethod
    def parse(cls, fire_when: Any, watermark: Any, extract: Any) -> Watch:
        """Check what an author gave.

        :raises ParameterError: naming the parameter and what is allowed.
        """
        conditions = parse_conditions(fire_when, "fire_when")
        names = checks.mapping(extract, "extract")
        paths = [("watermark", watermark)] if watermark is not None else []
        paths += [(f"extract[{name!r}]", path) for name, path in (names or {}).items()]
        for parameter, path in paths:
            check_path(path, parameter)
        if checks.is_open(conditions) or checks.is_open(names):
            raise ParameterError(
                "A watcher has no task, so nothing in it is a template.", parameter="fire_when"
            )
        return cls(fire_when=conditions, watermark=watermark, extract=names)

    def compiled(self) -> Watch:
        """Compile every path, which takes a while at first."""
        for path in (self.watermark, *(self.extract or {}).values(), *paths_of(self.fire_when or [])):
            if path is not None and path != "status_code":
                compile_path(path)
        return self

    def holds(self, reading: Reading) -> bool:
        """Whether an answer is one of those that are waited for."""
        if self.fire_when is None:
            return reading.response.ok
        return which_applies(self.fire_when, reading, every=True) is not None

    def mark(self, reading: Reading) -> str:
        """What tells this answer from others: a digest, as it is stored."""
        if self.watermark is None:
            told: Any = reading.document if reading.has_json else reading.response.body.hex()
        else:
            found = find_in(reading, self.watermark)
            told = None if found is MISSING else found
        text = json.dumps([reading.response.status, told], sort_keys=True, default=wire_text)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def payload(self, reading: Reading, redactor: Redactor, conn_id: str) -> dict[str, Any]:
        """What is told of an answer: small, without secrets, JSON."""
        told: dict[str, Any] = {
            "api_conn_id": conn_id,
            "method": reading.request.method,
            "url": redactor.url(reading.request.url),
            "status_code": reading.response.status,
        }
        if self.watermark is not None:
            told["watermark"] = _told(reading, self.watermark)
        if isinstance(self.extract, Mapping):
            told["values"] = {str(name): _told(reading, path) for name, path in self.extract.items()}
        redacted: dict[str, Any] = redactor.data(told)
        return redacted


def _told(reading: Reading, path: str) -> Any:
    try:
        found = find_in(reading, path)
    except ApiTaskError:
        return None
    return None if found is MISSING else as_carried(reading.brief(found))[0]
