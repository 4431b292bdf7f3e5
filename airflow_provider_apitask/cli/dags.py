"""Finding the task that is to be run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.cli.failures import FAILED, CommandError

if TYPE_CHECKING:
    from airflow.sdk import DAG

__all__ = ["CALL_DAG_ID", "dag_of_call", "find_dag", "find_task"]

#: Id of the DAG and the task of a call that is given by options.
CALL_DAG_ID, _TASK_ID = "test_run", "call"


def find_dag(dag_id: str, subdir: str | None) -> DAG:
    """Parse the DAG: from a file or folder, else from where Airflow knows it, else from all its bundles.

    :raises CommandError: where it is not found, with the errors of the files that were parsed.
    """
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager

    errors: dict[str, str] = {}
    with _airflow_parsing_context_manager(dag_id=dag_id):
        for path, bundle in _places(dag_id, subdir):
            bag = _parsed(path, bundle)
            if (dag := bag.dags.get(dag_id)) is not None:
                found: DAG = dag
                return found
            errors |= bag.import_errors
    if not errors:
        where = subdir or "the DAG bundles of this Airflow"
        raise CommandError(f"There is no DAG {dag_id} in {where}.")
    shown = "\n".join(f"{name}:\n{text.rstrip()}" for name, text in errors.items())
    raise CommandError(f"There is no DAG {dag_id}; these files cannot be parsed:\n{shown}", FAILED)


def find_task(dag: DAG, task_id: str, map_index: int) -> Any:
    """The operator of a task.

    :raises CommandError: where there is none of that id, or it is of another kind.
    """
    from airflow_provider_apitask.operators.api_call import ApiCallOperator
    from airflow_provider_apitask.sensors.api_status import ApiStatusSensor

    task: Any = dag.task_dict.get(task_id)
    if task is None:
        raise CommandError(f"DAG {dag.dag_id} has no task {task_id}; it has {', '.join(dag.task_dict)}.")
    mapped = task.is_mapped or task.get_closest_mapped_task_group() is not None
    kind = task.operator_class if task.is_mapped else type(task)
    if not (isinstance(kind, type) and issubclass(kind, (ApiCallOperator, ApiStatusSensor))):
        name = getattr(kind, "__name__", "of another kind")
        raise CommandError(
            f"Task {task_id} is a {name}; a test run is for ApiCallOperator, @task.api_call and "
            "ApiStatusSensor."
        )
    if mapped and map_index < 0:
        raise CommandError(f"Task {task_id} is mapped: say which one with --map-index, from 0.")
    if not mapped and map_index >= 0:
        raise CommandError(f"Task {task_id} is not mapped: leave out --map-index.")
    return task


def dag_of_call(parameters: dict[str, Any]) -> tuple[DAG, Any]:
    """A DAG of one task, for a call that is in none.

    :raises ParameterError: naming the parameter and what is allowed.
    """
    from airflow.sdk import DAG

    from airflow_provider_apitask.operators.api_call import ApiCallOperator

    with DAG(CALL_DAG_ID, schedule=None) as dag:
        task = ApiCallOperator(task_id=_TASK_ID, **parameters)
    return dag, task


def _places(dag_id: str, subdir: str | None) -> list[tuple[Path, Any]]:
    """Where to look, one after the other, with the bundle."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    if subdir is not None:
        path = Path(subdir).expanduser().resolve()
        if not path.exists():
            raise CommandError(f"--subdir: there is no {path}.")
        return [(path, None)]
    bundles = {bundle.name: bundle for bundle in DagBundlesManager().get_all_dag_bundles()}
    for bundle in bundles.values():
        bundle.initialize()
    known, file = _known_file(dag_id)
    places = [(Path(bundle.path), bundle) for bundle in bundles.values()]
    if known in bundles and file is not None and (path := Path(bundles[known].path) / file).exists():
        # One file, where parsing all can take minutes.
        places.insert(0, (path, bundles[known]))
    return places


def _known_file(dag_id: str) -> tuple[str | None, str | None]:
    """The bundle of a DAG and its file there, where Airflow's database knows them."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    query = select(DagModel.bundle_name, DagModel.relative_fileloc).where(DagModel.dag_id == dag_id)
    try:
        with create_session() as session:
            row: Any = session.execute(query).first()
    except SQLAlchemyError:
        return None, None  # there is no database yet
    return (row[0], row[1]) if row is not None else (None, None)


def _parsed(path: Path, bundle: Any) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag, DagBag

    if bundle is None:
        return DagBag(path, bundle_path=path if path.is_dir() else path.parent)
    return BundleDagBag(path, bundle_path=Path(bundle.path), bundle_name=bundle.name)
