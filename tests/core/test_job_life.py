"""The picture of a job's life in the documentation: the ways that the state machine goes, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from airflow_provider_apitask.core.operation import Operation
from airflow_provider_apitask.core.state import Phase
from docs._ext.job_life import HEIGHT, PLACES, WAYS, WIDTH, svg

from .helpers import READ_TIMEOUT, Driven, make_call, make_job

RUNNING, DONE = {"status": "running"}, {"status": "succeeded"}
MONITOR = {"Location": "/v1/jobs/7"}


def drives() -> Iterator[Driven]:
    """Calls that end in all the ways there are."""
    yield (call := Driven(make_call(job=make_job(result_request="{status_url}/result"))))
    call.answer(202, None, MONITOR)
    answers = [(200, RUNNING), (503, None), (200, RUNNING), (503, None), (200, DONE), (200, {"rows": 1})]
    for code, body in answers:
        call.answer(code, body)
    yield (at_once := Driven(make_call()))
    at_once.answer(200, {"rows": 1})
    at_once.done()
    for sync in (True, False):
        yield (call := Driven(make_call(sync=sync)))
        call.answer(400 if not sync else 200, {})
    yield (unknown := Driven(make_call()))
    unknown.tell(READ_TIMEOUT)
    yield from searches()
    failed, cancelled = {"status": "failed"}, {"status": "cancelled"}
    for code, body in [(200, failed), (200, cancelled), (410, None), (200, RUNNING)]:
        yield (call := Driven.polling(make_job(max_polls=1, result_request="/result")))
        call.answer(code, body)
    yield (explained := Driven.polling(make_job(error_request="/why")))
    explained.answer(200, failed)
    explained.answer(200, {"message": "disk full"})
    yield (without_result := Driven.polling(make_job(result_request="/result")))
    without_result.answer(200, DONE)
    without_result.answer(403, {})
    for reason, limits in (("kill", {}), ("deadline", {"max_polls": 1})):
        yield (killed := Driven.polling(make_job(cancel_request={"method": "DELETE"}, **limits)))
        if reason == "kill":
            killed.operation.cancel(reason)
        else:
            killed.answer(200, RUNNING)
        killed.answer(200, {})


def searches() -> Iterator[Driven]:
    found = [{"id": 7, "name": "n"}]
    for answers in ([(200, found)], [(200, [])] * 9, [(400, None)]):
        job = make_job(
            status_request="/jobs/{id}",
            reconcile={"request": "/jobs", "match": {"$.name": "n"}, "settle": 5},
        )
        yield (search := Driven(make_call(job=job)))
        search.tell(READ_TIMEOUT)
        for code, body in answers:
            if search.state.phase is Phase.RECONCILE:
                search.answer(code, body)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> set[tuple[Phase, Phase]]:
    """Each way from one phase to another that was gone."""
    seen: set[tuple[Phase, Phase]] = set()
    make = Operation._make

    def watched(self: Operation, move: Any) -> Any:
        before = self.state.phase
        event = make(self, move)
        seen.add((before, self.state.phase))
        return event

    monkeypatch.setattr(Operation, "_make", watched)
    assert len(list(drives())) >= 15
    return {(before, after) for before, after in seen if before is not after}


def test_each_arrow_is_a_way_that_calls_go(moves: set[tuple[Phase, Phase]]) -> None:
    assert [way for way in WAYS if not way.moves & moves] == []


def test_each_way_that_calls_go_is_an_arrow(moves: set[tuple[Phase, Phase]]) -> None:
    assert moves - set().union(*(way.moves for way in WAYS)) == set()


def test_each_phase_is_in_the_picture_and_the_picture_is_whole() -> None:
    assert set(PLACES) == set(Phase)
    picture = ET.fromstring(svg())
    named = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {phase.name for phase in Phase} <= named
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= WIDTH - width
        assert 0 <= y <= HEIGHT - height
