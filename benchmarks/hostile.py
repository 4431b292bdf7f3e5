"""What hostile answers do to a worker and to a triggerer: how they end, when, and how much memory they take.

Each answer meets each of the two in a process of its own, as the answer of a call, to a status check and
to a submit. The bounds are those of the package by default; only where an answer makes wait is the timeout
a short one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.hostile_answers import ANSWERS, LIMIT, serving

__all__ = ["SIDES", "Ending", "measure", "report"]

SIDES = ("worker", "triggerer")
#: Connect and read, seconds: the defaults of a connection.
_PATIENCE = (10.0, 30.0)
#: Memory that has nothing to do with the size of an answer, such as the buffers of the libraries.
_CONSTANT = 24 * 2**20
#: Seconds for one process.
_LONGEST = 100.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How one answer ended on one side.

    :param asked: by what was asked (result, status, submit): outcome, message, events, seconds.
    :param growth: bytes of memory at the peak, over the idle process.
    :param after: outcome of a good request after them.
    """

    name: str
    side: str
    asked: dict[str, dict[str, Any]]
    growth: int
    after: str

    @property
    def seconds(self) -> float:
        """The longest of the three."""
        return max(float(one["seconds"]) for one in self.asked.values())

    @property
    def most_seconds(self) -> float:
        """What it may take."""
        return ANSWERS[self.name].seconds

    @property
    def most_growth(self) -> int:
        """What it may use."""
        return int(ANSWERS[self.name].growth * LIMIT) + _CONSTANT

    @property
    def outcome(self) -> str:
        """The kinds of errors, and the cause."""
        cause = ANSWERS[self.name].cause
        kinds = ", ".join(dict.fromkeys(str(one["outcome"]) for one in self.asked.values()))
        after = "" if self.after == "value" else f"; a good request after it: {self.after}"
        return (f"{kinds}: … {cause} …" if cause else kinds) + after

    def __str__(self) -> str:
        return (
            f"{self.name:<38}{self.side:<10}{self.seconds:>8.2f}{self.growth / 2**20:>9.1f}  {self.outcome}"
        )


def measure(cases: Iterable[tuple[str, str]] | None = None, at_once: int = 1) -> list[Ending]:
    """Run answers against sides.

    :param cases: names of answers with a side; by default all with both.
    :param at_once: how many at a time.
    """
    wanted = list(cases) if cases is not None else [(name, side) for name in ANSWERS for side in SIDES]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda case: _measure(*case), wanted))


def _measure(name: str, side: str) -> Ending:
    answer = ANSWERS[name]
    patience = map(str, answer.patience or _PATIENCE)
    with serving(answer) as url:
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.hostile_client", url, side, answer.path, *patience],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_LONGEST,
        )
    found = json.loads(out.stdout.splitlines()[-1])
    return Ending(name, side, found["asked"], found["growth"], found["after"])


def report() -> str:
    """The table that the documentation shows."""
    head = f"{'answer':<40}{'on the':<10}{'seconds':>8}{'MiB':>9}  outcome"
    return "\n".join([head, *map(str, measure())])
