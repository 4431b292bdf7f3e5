"""Hostile answers to a worker and to a triggerer, each in a process of its own: time, memory, what is said.

The answers and their bounds are those of ``benchmarks.hostile``, whose table the documentation shows.
"""

from __future__ import annotations

import pytest

from benchmarks.hostile import SIDES, Ending, measure
from benchmarks.hostile_answers import ANSWERS

pytestmark = pytest.mark.once

CASES = [name for name, answer in ANSWERS.items() if not answer.slow]


@pytest.fixture(scope="module")
def endings() -> dict[tuple[str, str], Ending]:
    """All of them, several at a time: most of it is starting processes and waiting."""
    return {
        (ending.name, ending.side): ending
        for ending in measure([(n, s) for n in CASES for s in SIDES], at_once=4)
    }


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", CASES)
def test_it_ends_within_its_bounds(name: str, side: str, endings: dict[tuple[str, str], Ending]) -> None:
    ending, cause = endings[name, side], ANSWERS[name].cause
    assert ending.growth < ending.most_growth
    assert ending.after == "value", "the process goes on to make good requests"
    result, status = ending.asked["result"], ending.asked["status"]
    if not cause:
        assert result["outcome"] == "value"
        return
    assert result["outcome"] in ("request_failed", "answer")
    assert cause in result["message"]
    if "max_response_bytes" in cause:
        # The next answer would be no smaller.
        assert (status["outcome"], cause in status["message"]) == ("request_failed", True)
    else:
        assert status["outcome"] == "value", "a failed check is no failed job"
        assert cause in "".join(status["events"])
    submit = ending.asked["submit"]
    if result["outcome"] == "request_failed":
        assert submit["outcome"] == "submit_unknown"
        assert cause in submit["message"]


@pytest.mark.parametrize("name", CASES)
def test_worker_and_triggerer_say_the_same(name: str, endings: dict[tuple[str, str], Ending]) -> None:
    worker, triggerer = (endings[name, side] for side in SIDES)
    for asked, seen in worker.asked.items():
        assert seen["outcome"] == triggerer.asked[asked]["outcome"]
