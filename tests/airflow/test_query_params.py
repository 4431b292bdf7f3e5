"""``params`` of a task are query parameters, those of the DAG stay Airflow's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Param

from airflow_provider_apitask import ApiCallOperator
from airflow_provider_apitask.exceptions import ParameterError
from tests.airflow.helpers import call, context_for
from tests.support import Answer
from tests.support.job_server import JobServer


class Load(ApiCallOperator):
    """A subclass that hands on what it is given."""

    def __init__(self, *, table: str, **kwargs: Any) -> None:
        super().__init__(endpoint=f"/tables/{table}", **kwargs)


class Fixed(ApiCallOperator):
    """A subclass with query parameters of its own, under the name ``params``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(endpoint="/x", params={"own": 1}, **kwargs)


class Named(ApiCallOperator):
    """A subclass with query parameters of its own, under their other name."""

    def __init__(self, *, params: Any = None, **kwargs: Any) -> None:
        super().__init__(endpoint="/x", query_params={"own": 1}, **kwargs)


def dag(**params: Any) -> DAG:
    return DAG("d", schedule=None, params={"zone": Param("eu"), **params})


def unmapped(mapped: Any, **kwargs: Any) -> ApiCallOperator:
    task: ApiCallOperator = mapped.unmap(kwargs)
    return task


def test_params_of_the_dag_are_never_sent(jobs: JobServer) -> None:
    jobs.on("POST", "/jobs", Answer(json=1))
    with dag():
        task = call(params={"page": 2, "z": "{{ params.zone }}"})
        bare = call(task_id="bare")
    for operator in (task, bare):
        operator.execute(context_for(operator, params={"zone": "us"}))
    assert [request.target for request in jobs.history] == ["/jobs?page=2&z=us", "/jobs"]
    assert task.params == {"zone": "eu"}


@pytest.mark.parametrize("name", ["params", "query_params"])
def test_both_names_and_subclasses(name: str) -> None:
    with dag():
        assert call(**{name: {"a": 1}}).query_params == {"a": 1}
        task = Load(task_id="load", table="t", **{name: {"a": 1}})
    assert (task.query_params, task.endpoint, task.params) == ({"a": 1}, "/tables/t", {"zone": "eu"})


def test_subclass_with_query_parameters_of_its_own() -> None:
    assert Fixed(task_id="t").query_params == {"own": 1}
    with dag():
        task = Named(task_id="named")
    assert (task.query_params, task.params) == ({"own": 1}, {"zone": "eu"})


def test_params_of_default_args_stay_airflows() -> None:
    defaults = {
        "params": {"p": 1},
        "retries": 4,
        "retry_delay": timedelta(seconds=9),
        "headers": {"X": "1"},
        "api_conn_id": "mine",
    }
    with DAG("d", schedule=None, default_args=defaults):
        task = call(api_conn_id="other")
        inherits = ApiCallOperator(task_id="u", endpoint="/x")
    assert task.query_params is None
    assert (task.retries, task.retry_delay, task.headers) == (4, timedelta(seconds=9), {"X": "1"})
    assert (task.api_conn_id, inherits.api_conn_id) == ("other", "mine")
    assert call(retry_delay=timedelta(seconds=3), retry_wait=5).retry_delay == timedelta(seconds=3)


def test_partial_takes_params_as_query() -> None:
    with dag():
        mapped = ApiCallOperator.partial(task_id="t", endpoint="/x", params={"page": 1}).expand(body=[1, 2])
    assert mapped.partial_kwargs["query_params"] == {"page": 1}
    task = unmapped(mapped, body=2)
    assert (task.query_params, task.body, task.params) == ({"page": 1}, 2, {"zone": "eu"})


@pytest.mark.parametrize("name", ["params", "query_params"])
def test_expand_maps_query_parameters(name: str) -> None:
    with dag(page=9):
        mapped = ApiCallOperator.partial(task_id="t", endpoint="/x").expand(**{name: [{"page": 1}]})
        rows = ApiCallOperator.partial(task_id="u", endpoint="/x").expand_kwargs([{name: {"page": 1}}])
    assert mapped.expand_input.value == {"query_params": [{"page": 1}]}
    assert rows.expand_input.value == [{"query_params": {"page": 1}}]
    task = unmapped(mapped, query_params={"page": 1})
    assert (task.query_params, task.params) == ({"page": 1}, {"zone": "eu", "page": 9})


def test_params_from_an_upstream_are_refused_when_they_are_seen() -> None:
    with dag():
        rows = BaseOperator(task_id="rows").output
        mapped = ApiCallOperator.partial(task_id="t", endpoint="/x").expand_kwargs(rows)
    with pytest.raises(ParameterError, match="query_params"):
        unmapped(mapped, params={"page": 1})
    assert unmapped(mapped, query_params={"page": 1}).query_params == {"page": 1}


def test_params_from_an_upstream_as_a_whole() -> None:
    with dag():
        start = BaseOperator(task_id="start")
        task = call(params=start.output)
    assert task.upstream_task_ids == {"start"}
