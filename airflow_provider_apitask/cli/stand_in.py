"""What Airflow has around a task, for one that is run alone: a run, its dates, its conf and its XComs.

Connections and variables are those of Airflow. Nothing is written to its database.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_apitask.cli.failures import CommandError

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

__all__ = ["RunOf", "StandIn", "context_of"]

#: Which fields of a run there are depends on Airflow's version.
_RUN_FIELDS = frozenset(DagRun.model_fields)


@dataclass(frozen=True)
class RunOf:
    """The run that a task sees.

    :param run_id: of a run of the DAG; None for one that is made up.
    :param logical_date: of one that is made up; now by default.
    :param conf: of the run; by default that of the named run, else none.
    """

    run_id: str | None = None
    logical_date: datetime | None = None
    conf: dict[str, Any] | None = None

    def dag_run(self, dag_id: str) -> DagRun:
        """The run as a task sees it.

        :raises CommandError: where there is no such run.
        """
        at = self.logical_date or datetime.now(UTC)
        made: dict[str, Any] = {
            "dag_id": dag_id,
            "run_id": f"test_run__{at.isoformat()}",
            "logical_date": at,
            "data_interval_start": at,
            "data_interval_end": at,
            "run_after": at,
            "start_date": datetime.now(UTC),
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "conf": {},
            "consumed_asset_events": [],
            "partition_key": None,
        }
        if self.run_id is not None:
            made |= _stored_run(dag_id, self.run_id)
        if self.conf is not None:
            made["conf"] = self.conf
        return DagRun(**{name: value for name, value in made.items() if name in _RUN_FIELDS})


def _stored_run(dag_id: str, run_id: str) -> dict[str, Any]:
    from airflow.models.dagrun import DagRun as StoredRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run: Any = session.scalar(
            select(StoredRun).where(StoredRun.dag_id == dag_id, StoredRun.run_id == run_id)
        )
        if run is None:
            raise CommandError(f"--run-id: DAG {dag_id} has no run {run_id}.")
        kept = _RUN_FIELDS - {"consumed_asset_events", "state", "end_date", "team_name", "note"}
        return {name: getattr(run, name) for name in kept if hasattr(run, name)}


class StandIn(RuntimeTaskInstance):
    """A task instance that keeps to itself what its task pushes.

    :param xcoms_of: id of the run whose XComs are read; None where there is none.
    :param pushed: what the task has pushed.
    """

    xcoms_of: str | None = None
    pushed: dict[str, Any] = {}  # noqa: RUF012 - a field, which pydantic copies

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value for this process."""
        self.pushed[key] = value

    def xcom_pull(
        self,
        task_ids: Any = None,
        dag_id: str | None = None,
        key: str = "return_value",
        include_prior_dates: bool = False,
        *,
        map_indexes: Any = NOTSET,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """Take what the task has pushed, or what a run of the DAG has left.

        :raises CommandError: naming the task, where no run is named.
        """
        ids = [self.task_id if task_ids is None else task_ids] if _is_one(task_ids) else list(task_ids)
        values: list[Any] = []
        for task_id in ids:
            if task_id == self.task_id and dag_id in (None, self.dag_id) and key in self.pushed:
                values.append(self.pushed[key])
                continue
            run = run_id or self.xcoms_of
            if run is None:
                raise CommandError(
                    f"Task {self.task_id} asks for the XCom {key!r} of task {task_id}, and a test run has no "
                    "other tasks: name a run of the DAG whose XComs are to be used with --run-id."
                )
            asked = (run, dag_id or self.dag_id, task_id, key, map_indexes, include_prior_dates)
            values += _stored_xcoms(*asked) or [default]
        return values[0] if _is_one(task_ids) and len(values) == 1 else values


def _is_one(task_ids: Any) -> bool:
    return task_ids is None or isinstance(task_ids, str)


def _stored_xcoms(
    run_id: str, dag_id: str, task_id: str, key: str, map_indexes: Any, prior: bool
) -> list[Any]:
    from airflow.models.xcom import XComModel
    from airflow.sdk.execution_time.comms import XComResult
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.utils.session import create_session

    wanted = {"map_indexes": -1 if map_indexes is None else map_indexes} if map_indexes is not NOTSET else {}
    query = XComModel.get_many(
        run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=key, include_prior_dates=prior, **wanted
    )
    with create_session() as session:
        rows: list[Any] = list(session.scalars(query.order_by(None).order_by(XComModel.map_index)))
        return [XCom.deserialize_value(XComResult(key=key, value=row.value)) for row in rows]


def context_of(dag: DAG, task: Any, map_index: int, run: RunOf) -> Context:
    """The context of a task; its templates are not rendered yet.

    :raises CommandError: where there is no such run, or ``params`` do not allow its conf.
    """
    from airflow.sdk.exceptions import ParamValidationError

    dag_run = run.dag_run(dag.dag_id)
    ti: Any = StandIn.model_construct(
        id=uuid.uuid4(),
        task_id=task.task_id,
        dag_id=dag.dag_id,
        run_id=dag_run.run_id,
        try_number=1,
        map_index=map_index,
        max_tries=0,
        start_date=datetime.now(UTC),
        task=task,
        xcoms_of=run.run_id,
        pushed={},
        _ti_context_from_server=TIRunContext(dag_run=dag_run, max_tries=0),
    )
    try:
        context: Any = ti.get_template_context()
    except ParamValidationError as error:
        raise CommandError(f"The params of DAG {dag.dag_id} and --conf do not fit: {error}.") from None
    # A try that is not stored finds no record of an earlier one, and leaves none.
    context.pop("task_state_store", None)
    found: Context = context
    return found
