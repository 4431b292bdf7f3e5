"""Run a DAG of another Airflow and wait for it, by its REST API.

The run's id is chosen here, from the run of this DAG: should the answer to the start be lost, or the task be
tried again, the other Airflow says that there is such a run (409), and this is the one that is waited for.
Whoever ends the task sets the run to failed.

The connection ``airflow_api`` (type API task) holds the address of the REST API, user, password and login.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param, task

from airflow_provider_apitask.jobs import airflow_dag_run
from airflow_provider_apitask.operators.api_call import ApiCallOperator

RUN = "{{ ti.dag_id }}__{{ ti.run_id }}"

with DAG(
    dag_id="example_airflow_dag_run",
    schedule=None,
    params={
        "dag": Param("example_ogc_process", type="string", description="The DAG to run"),
        "conf": Param({}, type="object", description="Its parameters"),
    },
    render_template_as_native_obj=True,
    tags=["example"],
):
    run_dag = ApiCallOperator(
        task_id="run_dag",
        api_conn_id="airflow_api",
        endpoint="/dags/{{ params.dag }}/dagRuns",
        body={"dag_run_id": RUN, "logical_date": None, "conf": "{{ params.conf }}"},
        job=airflow_dag_run("{{ params.dag }}", RUN, poll_interval=2),
    )

    @task
    def report(run: dict) -> str:
        return f"{run['dag_run_id']} was {run['state']}"

    report(run_dag.output)
