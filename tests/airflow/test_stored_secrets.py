"""What a server hands out to its holder alone, such as a signed URL, is in nothing that Airflow stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_apitask import ApiStatusSensor, exceptions
from tests.airflow.helpers import (
    FAST,
    Comms,
    KilledError,
    TaskInstance,
    awaited,
    call,
    context_for,
    deferred,
    needs_store,
)
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

SECRET = "s1gnature-of-the-server"
RESULT = {"rows": 3}


class Signing:
    """An API whose URLs are good with their signature alone.

    :param status: whether the status URL is signed; else the result URL is, and for one request.
    """

    def __init__(self, jobs: JobServer, *, status: bool) -> None:
        self.polls = self.results = 0
        self.url = jobs.url
        signed = f"?X-Amz-Signature={SECRET}" if status else ""
        jobs.on("POST", "/start", Answer(202, json={"id": "7"}, headers={"Location": f"/status{signed}"}))
        jobs.on("GET", "/status", self._status if not status else self._signed_status)
        jobs.on("GET", "/result", self._result)

    def _signed_status(self, request: Recorded) -> Answer:
        if dict(request.query).get("X-Amz-Signature") != SECRET:
            return Answer(403)
        return self._status(request)

    def _status(self, request: Recorded) -> Answer:
        self.polls += 1
        if self.polls < 3:
            return Answer(json={"status": "running"})
        return Answer(json={"status": "done", "at": f"{self.url}/result?sig={SECRET}-{self.polls}"})

    def _result(self, request: Recorded) -> Answer:
        # Pre-signed URLs live for a short time.
        good = dict(request.query).get("sig") == f"{SECRET}-{self.polls}"
        self.results += good
        return Answer(json=RESULT) if good else Answer(403)


JOB = {**FAST, "defer_after": 0, "result_request": "{at}"}


@pytest.fixture
def stored(comms: Comms, capsys: pytest.CaptureFixture[str]) -> Iterator[list[Any]]:
    """Collect what is stored besides XComs and the state of the task; no secret is in any of it."""
    kept: list[Any] = []
    yield kept
    everything = json.dumps([kept, list(comms.values.items()), comms.store], default=str)
    assert SECRET not in everything
    assert SECRET not in capsys.readouterr().out


def test_a_signed_status_url_is_followed_by_the_worker(
    jobs: JobServer, stored: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    api = Signing(jobs, status=True)
    task = call(endpoint="/start", job=JOB)
    assert task.execute(context_for(task)) == RESULT
    assert (api.polls, api.results) == (3, 1)
    assert "waits on the worker instead of deferring" in caplog.text
    assert "configure job.status_request" in caplog.text


def test_a_signed_result_url_is_asked_for_again(jobs: JobServer, stored: list[Any]) -> None:
    api = Signing(jobs, status=False)
    task = call(endpoint="/start", job={**JOB, "cancel_request": {}})
    context = context_for(task)
    resume = deferred(task, context)
    stored.append(resume.trigger.serialize())
    payload = awaited(resume.trigger, context["ti"])
    stored.append(payload)
    polls = api.polls
    assert task.execute_complete(context, payload) == RESULT
    assert api.polls == polls + 1, "the response has a new URL"
    assert api.results == 1


def test_a_sensor_asks_for_a_signed_result_url_again(jobs: JobServer, stored: list[Any]) -> None:
    api = Signing(jobs, status=False)
    sensor = ApiStatusSensor(
        task_id="s", api_conn_id="api", job_id="7", status_request="/status", job=JOB, deferrable=True
    )
    context = context_for(sensor)
    resume = deferred(sensor, context)
    stored.append(resume.trigger.serialize())
    payload = awaited(resume.trigger, context["ti"])
    stored.append(payload)
    assert sensor.execute_complete(context, payload) == RESULT
    assert api.results == 1


@needs_store
def test_a_retry_says_that_it_cannot_follow_a_signed_url(
    jobs: JobServer, stored: list[Any], comms: Comms
) -> None:
    Signing(jobs, status=True)

    comms.before = _killed
    task = call(endpoint="/start", job=JOB)
    with pytest.raises(KilledError):
        task.execute(context_for(task))
    comms.before = lambda message: None
    assert comms.record()["state"]["status_url"].endswith("/status?X-Amz-Signature=***")
    again = call(endpoint="/start", job=JOB)
    with pytest.raises(exceptions.NothingToFollowError, match="may still be running") as caught:
        again.execute(context_for(again, ti=TaskInstance("t", try_number=2)))
    assert "job.status_request" in str(caught.value)
    assert len([request for request in jobs.history if request.method == "POST"]) == 1


def _killed(message: Any) -> None:
    """Kill the process when the job is recorded, and its handle is pushed."""
    if type(message).__name__ == "SetXCom":
        raise KilledError


@pytest.mark.parametrize(
    "part", [{"body": {"auth": {"token": SECRET}}}, {"endpoint": f"/status?sig={SECRET}"}]
)
def test_what_the_author_wrote_is_refused_before_the_submission(
    jobs: JobServer, stored: list[Any], part: dict[str, Any]
) -> None:
    job = {**JOB, "status_request": {"endpoint": "/status", "method": "POST", **part}}
    task = call(endpoint="/start", job=job)
    with pytest.raises(exceptions.ParameterError, match="looks like a credential"):
        task.execute(context_for(task))
    assert jobs.history == []


def test_a_rendered_value_is_refused_as_well(
    jobs: JobServer, stored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {**JOB, "status_request": {"endpoint": "/status", "headers": {"X-Api-Key": "{{ params.key }}"}}}
    task = call(endpoint="/start", job=job)
    with pytest.raises(exceptions.ParameterError, match="X-Api-Key looks like a credential"):
        task.execute(context_for(task, params={"key": SECRET}))
    assert jobs.history == []
