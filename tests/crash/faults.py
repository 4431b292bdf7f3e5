"""What is done to a task, or to its job, when one of its requests arrives."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from demo.airflow_service import ComponentAirflow
from tests.crash.processes import kill, sender
from tests.crash.server import CrashServer, Moment
from tests.support import Answer, Recorded

__all__ = ["REQUEST_FAULTS", "Fault", "FaultInjector"]

FAILED_CHECKS = 5
AFTER_THE_ANSWER = 0.6  # seconds within which a task is killed when its submit was answered

Act: TypeAlias = Callable[["FaultInjector", str, Recorded], Answer | None]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a certain moment, once for each task.

    :param title: for the table
    :param moment: when, for a task that waits on the worker
    :param act: what
    :param token: whether its tasks have to send the request that goes before a submit
    :param when_deferred: when, for a task that is deferred; None where there is no such moment
    :param loses_answer: whether a task without key and reconcile cannot know if its job was submitted
    :param times: how often for each task
    """

    title: str
    moment: Moment
    act: Act
    token: bool = False
    when_deferred: Moment | None = None
    loses_answer: bool = True
    times: int = 1

    def moment_of(self, dag_id: str) -> Moment | None:
        """When it happens to a task of the DAG."""
        return self.when_deferred if "_deferred" in dag_id else self.moment


class FaultInjector:
    """Does to each task what the id of its run says; to be the server's ``on_moment``.

    :param seed: of the times that are random
    """

    def __init__(self, airflow: ComponentAirflow, server: CrashServer, seed: int) -> None:
        self.airflow = airflow
        self.random = random.Random(seed)
        self.acted: Counter[str] = Counter()
        """How often something was done, by the name of the task."""
        self.missed: list[str] = []
        """Tasks that had ended before they could be killed."""
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        server.on_moment = self

    def __call__(self, moment: Moment, name: str, request: Recorded) -> Answer | None:
        dag_id, run_id, _ = name.split("/")
        fault = REQUEST_FAULTS.get(run_id)
        if fault is None or moment is not fault.moment_of(dag_id):
            return None
        with self._lock:
            if self.acted[name] >= fault.times:
                return None
            self.acted[name] += 1
        return fault.act(self, name, request)

    def kill_task(self, name: str, request: Recorded) -> None:
        """Kill the process that sent a request."""
        if not kill(sender(self.airflow, request.peer)):
            self.missed.append(name)

    def kill_supervisor(self, name: str, request: Recorded) -> None:
        """Kill the supervisor of the process that sent a request."""
        process = sender(self.airflow, request.peer)
        if process is None or not kill(process.parent()):
            self.missed.append(name)

    def kill_task_soon(self, _name: str, request: Recorded) -> None:
        """Kill the process that sent a request, while it reads the answer or soon after; it may be done."""
        process = sender(self.airflow, request.peer)
        timer = threading.Timer(self.random.uniform(0, AFTER_THE_ANSWER), kill, [process])
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        """Wait for what is still to happen."""
        for timer in self._timers:
            timer.join()


def _drop(_injector: FaultInjector, _name: str, _request: Recorded) -> Answer:
    return Answer(drop="before")


def _fail_check(_injector: FaultInjector, _name: str, _request: Recorded) -> Answer:
    return Answer(503, {"detail": "down for maintenance"})


def _kill_and_drop(injector: FaultInjector, name: str, request: Recorded) -> Answer:
    injector.kill_task(name, request)
    return Answer(drop="before")


def _same(moment: Moment, title: str, act: Act, **more: object) -> Fault:
    return Fault(title, moment, act, when_deferred=moment, **more)  # type: ignore[arg-type]


#: By the id of the run that they happen to.
REQUEST_FAULTS = {
    "before": _same(Moment.TOKEN, "task killed before the submit", FaultInjector.kill_task, token=True),
    "during": _same(Moment.ARRIVED, "task killed during the submit, not processed", _kill_and_drop),
    "unanswered": _same(
        Moment.PROCESSED, "task killed during the submit, processed", FaultInjector.kill_task
    ),
    "dropped": _same(Moment.PROCESSED, "answer dropped after processing", _drop),
    "after": _same(
        Moment.PROCESSED,
        f"task killed within {AFTER_THE_ANSWER} s of the answer",
        FaultInjector.kill_task_soon,
    ),
    "polling": Fault("task killed while polling", Moment.POLL, FaultInjector.kill_task, loses_answer=False),
    "supervisor": Fault(
        "supervisor killed (polling, or during the submit)",
        Moment.POLL,
        FaultInjector.kill_supervisor,
        when_deferred=Moment.PROCESSED,
    ),
    "checks": _same(
        Moment.POLL, f"{FAILED_CHECKS} checks fail", _fail_check, loses_answer=False, times=FAILED_CHECKS
    ),
}


def dags_for(fault: Fault, dag_ids: Sequence[str]) -> list[str]:
    """Which of these DAGs a fault can happen to."""
    return [dag for dag in dag_ids if dag.endswith("_token") is fault.token and fault.moment_of(dag)]
