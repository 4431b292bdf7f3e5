"""The link from a task instance to its job: stored by the worker, by the triggerer while the task waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor
from airflow_provider_apitask.links.remote_job import LINK_KEY, RemoteJobLink
from tests.airflow.helpers import (
    FAST,
    Comms,
    TaskInstance,
    awaited,
    call,
    context_for,
    deferred,
    event,
    restored,
)
from tests.support import Answer
from tests.support.job_server import JobServer

UI = "https://ui.example.com/jobs/{job_id}"
SHOWN = "https://ui.example.com/jobs/job-1"


def finished(task: Any, ti: TaskInstance) -> str:
    """What Airflow stores when a worker has done with a task, whatever came of it."""
    (link,) = task.operator_extra_links
    return str(link.get_link(operator=task, ti_key=ti))


def test_worker_stores_the_link_when_it_defers(jobs: JobServer, comms: Comms) -> None:
    task = call(job={**FAST, "link_path": UI})
    context = context_for(task)
    resume = deferred(task, context)
    assert comms.pushed("t", LINK_KEY) == SHOWN == finished(task, context["ti"])
    assert comms.pushed("t", "api_job")["link"] == SHOWN
    # The worker that goes on is another process.
    other = call(job={**FAST, "link_path": UI})
    context = context_for(other)
    other.execute_complete(context, awaited(resume.trigger, context["ti"]))
    assert finished(other, context["ti"]) == SHOWN


async def test_trigger_stores_the_link_when_an_answer_has_it(jobs: JobServer, comms: Comms) -> None:
    jobs.once("GET", "/jobs/job-1", Answer(json={"status": "running"}))
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "running", "ui": "/ui/1?token=abcdef"}))
    task = call(job={"poll_interval": 0.05, "link_path": "$.ui"})
    context = context_for(task)
    trigger = (await asyncio.to_thread(deferred, task, context)).trigger
    assert comms.pushed("t", LINK_KEY) is None
    running = asyncio.create_task(event(restored(trigger, context["ti"])))
    await asyncio.to_thread(jobs.wait_for, 3, "GET", "/jobs/job-1")
    assert comms.pushed("t", LINK_KEY) == f"{jobs.url}/ui/1"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # A worker that learns nothing of it, such as after execution_timeout, does not store "none" instead.
    assert finished(call(job={"link_path": "$.ui"}), context["ti"]) == f"{jobs.url}/ui/1"


def test_a_link_that_cannot_be_stored_does_not_lose_the_job(jobs: JobServer, comms: Comms) -> None:
    comms.broken = True
    task = call(job={**FAST, "link_path": UI})
    payload = awaited(deferred(task, context_for(task)).trigger, TaskInstance("t"))
    assert payload["state"]["phase"] == "fetch"
    waits_here = call(job={**FAST, "link_path": UI}, deferrable=False)
    assert waits_here.execute(context_for(waits_here))["status"] == "succeeded"


def test_link_is_there_while_the_worker_itself_waits(jobs: JobServer, comms: Comms) -> None:
    seen: list[Any] = []
    jobs.on("GET", "/jobs/job-1", Answer(json={"status": "running", "ui": "/ui/1"}))

    def look(message: Any) -> None:
        if type(message).__name__ == "SetXCom" and message.key == LINK_KEY:
            seen.append(message.value)
            jobs.on("GET", "/jobs/job-1", Answer(json={"status": "succeeded"}))

    comms.before = look
    task = call(job={**FAST, "link_path": "$.ui"}, deferrable=False)
    task.execute(context_for(task))
    assert seen == [f"{jobs.url}/ui/1"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_sensor_shows_the_link_of_the_handle(jobs: JobServer, comms: Comms, deferrable: bool) -> None:
    start = call(job={**FAST, "link_path": UI}, wait_for_completion=False)
    start.execute(context_for(start))
    handle = comms.pushed("t", "api_job")
    task = ApiStatusSensor(
        task_id="s", api_conn_id="api", handle=handle, poke_interval=0.02, deferrable=deferrable
    )
    context = context_for(task, ti=TaskInstance("s"))
    if deferrable:
        resume = deferred(task, context)
        assert comms.pushed("s", LINK_KEY) == SHOWN
        task.execute_complete(context, awaited(resume.trigger, context["ti"]))
    else:
        task.execute(context)
    assert finished(task, context["ti"]) == comms.pushed("s", LINK_KEY) == SHOWN


def test_sensor_without_a_handle_makes_the_link(jobs: JobServer, comms: Comms) -> None:
    start = call(wait_for_completion=False, mode="async")
    start.execute(context_for(start))
    job = {"link_path": UI, "status_request": "/jobs/{job_id}"}
    task = ApiStatusSensor(task_id="s", api_conn_id="api", job_id="job-1", job=job, poke_interval=0.02)
    task.execute(context_for(task, ti=TaskInstance("s")))
    assert comms.pushed("s", LINK_KEY) == SHOWN


def test_only_tasks_with_a_link_have_the_button() -> None:
    with DAG("d", schedule=None) as dag:
        call(task_id="sync")
        call(task_id="without", job={})
        call(task_id="with", job={"link_path": UI})
        call(task_id="template", job="{{ params.job }}")
        ApiStatusSensor(task_id="s", status_request="/x")
        ApiStatusSensor(task_id="of_a_handle", handle={"version": 1, "job_id": 1})
        ApiCallOperator.partial(task_id="mapped", endpoint="/x").expand(job=[{"link_path": UI}])
    read: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    shown = {task.task_id: [(o.name, o.xcom_key) for o in task.operator_extra_links] for task in read.tasks}
    button = [(RemoteJobLink().name, LINK_KEY)]
    assert shown == {
        "sync": [], "without": [], "s": [],
        "with": button, "template": button, "of_a_handle": button, "mapped": button,
    }  # fmt: skip
