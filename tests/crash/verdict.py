"""What became of the jobs: Airflow's view of each task against the server's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.crash.server import CrashServer
from tests.crash.stack import CrashStack, TaskRecord
from tests.support.job_server import Job

__all__ = ["Row", "judge", "markdown", "variant_of"]

_UNKNOWN = "SubmitUnknownError"


@dataclass
class Row:
    """A fault and what it did to the jobs of one variant."""

    fault: str
    variant: str
    may_be_unknown: bool
    """Whether the protocol cannot know if a job was submitted."""
    tries: list[int] = field(default_factory=list)
    duplicates: int = 0
    """Jobs that were submitted while another of the same task ran or had succeeded."""
    lost: int = 0
    """Jobs that ran or succeeded and that no task knows."""
    cancelled: int = 0
    """Cancel requests: nobody wanted one."""
    wrong: int = 0
    """Tasks that ended otherwise than their job, or not at all."""
    unknown: int = 0
    """Tasks that ended as SUBMIT_UNKNOWN."""
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether there is nothing that must not be."""
        return not (self.duplicates or self.lost or self.cancelled or self.wrong)

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        mean = sum(self.tries) / len(self.tries) if self.tries else 0.0
        counts = (self.duplicates, self.lost, self.cancelled, self.wrong, self.unknown)
        tries = f"{mean:.1f} / {max(self.tries, default=0)}"
        return (self.fault, self.variant, str(len(self.tries)), tries, *map(str, counts))


HEAD = (
    *("fault", "recognised by", "jobs", "tries (mean / max)", "duplicates", "lost"),
    *("wrongly cancelled", "wrong outcome", "SUBMIT_UNKNOWN"),
)


def variant_of(dag_id: str) -> str:
    """How a job is recognised again: key, reconcile or plain."""
    return dag_id.split("_")[1]


def judge(stack: CrashStack, fault: str, run_ids: Iterable[str], loses_answer: bool) -> list[Row]:
    """Compare what Airflow and the server say of all jobs of runs that a fault happened to."""
    results, handles = stack.xcoms("return_value"), stack.xcoms("api_job")
    rows: dict[str, Row] = {}
    for task in stack.expanded(tuple(run_ids)):
        variant = variant_of(task.dag_id)
        unknowable = variant == "plain" and loses_answer
        row = rows.setdefault(variant, Row(fault, variant, unknowable))
        unknown = task.state == "failed" and _UNKNOWN in stack.log(task)
        known = {
            (results.get(task.name) or {}).get("id"),
            (handles.get(task.name) or {}).get("job_id"),
        }
        _count(row, stack.server, task, unknown, known)
    return [rows[variant] for variant in sorted(rows)]


def _count(row: Row, server: CrashServer, task: TaskRecord, unknown: bool, known: set[Any]) -> None:
    jobs = server.jobs_of(task.name)
    last = jobs[-1] if jobs else None
    duplicates = sum(_goes_on(server, job, later.since) for job, later in itertools.pairwise(jobs))
    lost = 0 if unknown else sum(server.state_of(job) != "failed" and job.id not in known for job in jobs)
    cancelled = sum(server.cancels[job.id] for job in jobs)
    if unknown:
        wrong = not row.may_be_unknown
    elif task.state == "success":
        wrong = last is None or last.id not in known or server.state_of(last) != "succeeded"
    else:
        wrong = True
    row.tries.append(task.tries)
    row.duplicates += duplicates
    row.lost += lost
    row.cancelled += cancelled
    row.wrong += wrong
    row.unknown += unknown
    if duplicates or lost or cancelled or wrong:
        truth = ", ".join(f"{job.id} {server.state_of(job)}" for job in jobs) or "no job"
        row.details.append(
            f"{row.fault}: {task}, knows {known - {None}}, unknown: {unknown}; server: {truth}"
        )


def _goes_on(server: CrashServer, job: Job, at: float) -> bool:
    """Whether a job ran or had succeeded at a time."""
    return not (server.state_of(job) == "failed" and server.ended_at(job) <= at)


def markdown(rows: Sequence[Row]) -> str:
    """The table, and a line of totals."""
    total = Row("**all**", "", may_be_unknown=False, tries=[tries for row in rows for tries in row.tries])
    for name in ("duplicates", "lost", "cancelled", "wrong", "unknown"):
        setattr(total, name, sum(getattr(row, name) for row in rows))
    lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells() for row in (*rows, total))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
