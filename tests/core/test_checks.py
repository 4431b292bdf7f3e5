"""Bad input names the parameter and what is allowed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path, compile_path
from airflow_provider_apitask.core.job import AsyncJob
from airflow_provider_apitask.core.request_spec import RequestSpec


class Later:
    """Something like an XComArg."""


# -- numbers, choices, words, codes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        (5, 5),
        (1.5, 1.5),
        ("7", 7.0),
        (Decimal("1.5"), 1.5),
        (timedelta(minutes=2), 120),
        ("{{ x }}", "{{ x }}"),
        (0, 0),
    ],
)
def test_number(value: Any, number: Any) -> None:
    assert checks.number(value, "p") == number


@pytest.mark.parametrize(
    "value",
    [
        *(-1, "x", "", True, [], {}, float("nan"), float("inf"), "inf", "nan", 1e12, Decimal("sNaN"), b"5"),
        timedelta(seconds=-1),
    ],
)
def test_no_number(value: Any) -> None:
    with pytest.raises(ParameterError, match=r"^p must be a number of at least 0, not ") as caught:
        checks.number(value, "p")
    assert caught.value.data["parameter"] == "p"


def test_bounds() -> None:
    assert checks.number(1, "p", minimum=1, whole=True) == 1
    assert isinstance(checks.number("3", "p", whole=True), int)
    for options in ({"above": True}, {"minimum": 1}):
        with pytest.raises(ParameterError):
            checks.number(0, "p", **options)
    with pytest.raises(ParameterError, match="whole number"):
        checks.number(1.5, "p", whole=True)


def test_what_is_known_only_later_passes() -> None:
    later = Later()
    for check in (checks.number, checks.mapping, checks.words, checks.codes, checks.timeout):
        assert check(later, "p") is later
        assert check("{{ x }}", "p") == "{{ x }}"
    assert checks.choice("{{ x }}", "p", ("a",)) == "{{ x }}"


@pytest.mark.parametrize(
    ("value", "codes"), [(500, [500]), ("404", [404]), ({503, 500}, [500, 503]), (None, None)]
)
def test_codes(value: Any, codes: Any) -> None:
    assert checks.codes(value, "p") == codes


@pytest.mark.parametrize("value", [99, 600, "x", True, [500, None], 5.5, {}])
def test_no_codes(value: Any) -> None:
    with pytest.raises(ParameterError, match="100 to 599"):
        checks.codes(value, "p")


@pytest.mark.parametrize(
    ("value", "words"),
    [("a", ["a"]), (True, [True]), (["a", 1], ["a", 1]), ({"b", "a"}, ["a", "b"]), ([], [])],
)
def test_words(value: Any, words: Any) -> None:
    assert checks.words(value, "p") == words


@pytest.mark.parametrize("value", [{"a": 1}, [None], [["a"]], b"x"])
def test_no_words(value: Any) -> None:
    with pytest.raises(ParameterError, match="p must be a list of words"):
        checks.words(value, "p")


@pytest.mark.parametrize(("value", "timeout"), [(5, 5), ([1, 2], (1, 2)), (None, None)])
def test_timeout(value: Any, timeout: Any) -> None:
    assert checks.timeout(value) == timeout


@pytest.mark.parametrize("value", [0, -1, [1], [1, 2, 3], [None, 1], "x"])
def test_no_timeout(value: Any) -> None:
    with pytest.raises(ParameterError, match="timeout"):
        checks.timeout(value)


# -- a request -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "method", "endpoint"),
    [
        ("/a", "GET", "/a"),
        ("{{ x }}", "GET", "{{ x }}"),
        ({"endpoint": "/a", "method": "post"}, "POST", "/a"),
        (RequestSpec(method="patch"), "PATCH", None),
    ],
)
def test_request_forms(value: Any, method: str, endpoint: str | None) -> None:
    spec = RequestSpec.parse(value, "p")
    assert (spec.method, spec.endpoint) == (method, endpoint)
    assert RequestSpec.parse(spec.to_dict(), "p") == spec


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (5, "p must be an endpoint or a dict"),
        ({"url": "/a"}, r"p has no field 'url'; allowed are body, body_format, endpoint, headers"),
        ({"method": "GE T"}, r"p\.method"),
        ({"method": None}, r"p\.method"),
        ({"method": 5}, r"p\.method"),
        ({"endpoint": 5}, r"p\.endpoint"),
        ({"params": "a=1"}, r"p\.params"),
        ({"params": [1]}, r"p\.params"),
        ({"headers": "x"}, r"p\.headers"),
        ({"headers": {"bad name": "x"}}, r"p\.headers: 'bad name'"),
        ({"headers": {"Host": "x"}}, r"p\.headers: Host is set by the HTTP client"),
        ({"headers": {"transfer-encoding": "x"}}, "transfer-encoding"),
        ({"headers": {"X": "a\r\nb"}}, "X has a line break"),
        ({"headers": {"X": ["ok", "a\x00"]}}, "X has a line break"),
        ({"body_format": "yaml"}, r"p\.body_format must be one of json, form"),
        ({"timeout": 0}, r"p\.timeout"),
    ],
)
def test_a_request_that_is_none(value: Any, named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        RequestSpec.parse(value, "p")


def test_the_value_of_a_bad_header_is_not_shown() -> None:
    with pytest.raises(ParameterError) as caught:
        RequestSpec.parse({"headers": {"X-Key": "hunter2\n"}}, "p")
    assert "hunter2" not in str(caught.value)


def test_without_a_parameter_name() -> None:
    with pytest.raises(ParameterError, match=r"^method must"):
        RequestSpec(method="").checked()


# -- a job ---------------------------------------------------------------------------------------


def test_a_job_of_defaults() -> None:
    for job in (AsyncJob.parse(None), AsyncJob.parse({}), AsyncJob(poll_interval=None, initial_delay=None)):
        assert job == AsyncJob()
        assert job.to_dict() == {}
        assert (job.poll_interval, job.status_grace, job.unknown_status) == (15, 300, "fail")


def test_a_job_round_trips() -> None:
    job = AsyncJob(
        extract={"run": "$.runId"},
        job_id="{run}",
        status_request={
            "method": "post",
            "endpoint": "/s/{run}",
            "headers": {"A": ["1", "2"]},
            "timeout": (1, 2),
        },
        status_path="state",
        success_values={"ok", "fine"},
        failure_values="bad",
        poll_interval=timedelta(minutes=1),
        max_polls="10",
        final_status_codes=(404, "500"),
        result_request="/r/{run}",
    )
    record = job.to_dict()
    assert AsyncJob.parse(record) == job
    assert AsyncJob.parse(record).to_dict() == record
    assert (job.poll_interval, job.max_polls, job.final_status_codes) == (60, 10, [404, 500])
    assert job.success_values == ["fine", "ok"], "in one order always: it is part of the serialized DAG"
    assert list(job.later_placeholders()) == ["run", "run"]
    assert job.compiled() is job


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"extract": ["$.a"]}, "job.extract"),
        ({"extract": {"a": ""}}, "job.extract['a']"),
        ({"extract": {"a": 5}}, "job.extract['a']"),
        ({"job_id": ""}, "job.job_id"),
        ({"job_id": "{a..b}"}, "job.job_id"),
        ({"status_path": "$.a["}, "job.status_path"),
        ({"status_path": 5}, "job.status_path"),
        ({"error_path": "a."}, "job.error_path"),
        ({"progress_path": ""}, "job.progress_path"),
        ({"result_path": "[x]"}, "job.result_path"),
        ({"status_request": 5}, "job.status_request"),
        ({"status_request": {"headers": {"Host": "x"}}}, "job.status_request.headers"),
        ({"result_request": {"nope": 1}}, "job.result_request"),
        ({"success_values": {"a": 1}}, "job.success_values"),
        ({"success_values": ["a"], "failure_values": ["A"]}, "job.failure_values"),
        ({"unknown_status": "success"}, "job.unknown_status"),
        ({"initial_delay": -1}, "job.initial_delay"),
        ({"poll_interval": 0}, "job.poll_interval"),
        ({"poll_factor": 0.5}, "job.poll_factor"),
        ({"max_poll_interval": 0}, "job.max_poll_interval"),
        ({"max_polls": 0}, "job.max_polls"),
        ({"max_polls": 1.5}, "job.max_polls"),
        ({"deadline": 0}, "job.deadline"),
        ({"status_grace": "x"}, "job.status_grace"),
        ({"not_found_grace": True}, "job.not_found_grace"),
        ({"final_status_codes": [1000]}, "job.final_status_codes"),
        ({"poll_intervall": 5}, "job"),
    ],
)
def test_a_wrong_job_names_the_field(fields: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ParameterError) as caught:
        AsyncJob.parse(fields)
    assert caught.value.data["parameter"] == parameter
    assert parameter in caught.value.message


def test_a_job_that_is_none() -> None:
    with pytest.raises(ParameterError, match="job must be an AsyncJob or a dict, not int"):
        AsyncJob.parse(5)


@pytest.mark.parametrize("field", ["status_path", "job_id", "error_path"])
def test_a_wrong_jsonpath_is_found_before_anything_is_sent(field: str) -> None:
    job = AsyncJob(**{field: "$.a b"})
    with pytest.raises(ParameterError) as caught:
        job.compiled()
    assert caught.value.data["parameter"] == f"job.{field}"


def test_a_job_with_templates_passes_until_they_are_rendered() -> None:
    job = AsyncJob(
        poll_interval="{{ params.i }}",
        status_path="{{ p }}",
        success_values=["{{ w }}"],
        final_status_codes="{{ c }}",
        job_id="{{ j }}",
        status_request="/{{ r }}",
        result_request=Later(),
    )
    assert job.poll_interval == "{{ params.i }}"
    assert list(job.later_placeholders()) == []


# -- what errors quote ---------------------------------------------------------------------------


def test_what_the_author_wrote_is_quoted() -> None:
    assert checks.shown("soon") == "'soon'"
    assert checks.shown([1, 2]) == "[1, 2]"
    long = checks.shown("x" * 500)
    assert long.endswith("…")
    assert len(long) == 101


@pytest.mark.parametrize("value", [None, True, False, "", "None", "True", "0.5", "-1", 7, -1, 0.5])
def test_what_is_too_short_for_a_secret_is_quoted_of_a_rendered_value_too(value: Any) -> None:
    with checks.rendered():
        assert checks.shown(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("s3cr", "a text that is not shown"),
        (1234, "a value of type int"),
        (12.5, "a value of type float"),
        (b"1", "a value of type bytes"),
        (["s3cret"], "a value of type list"),
        ({"s3cret": 1}, "a value of type dict"),
        (timedelta(1), "a value of type timedelta"),
    ],
)
def test_of_a_rendered_value_the_type_alone_is_said(value: Any, said: str) -> None:
    with checks.rendered():
        assert checks.shown(value) == said
        assert not checks.quotes()
    assert checks.shown(value) == repr(value)
    assert checks.quotes()


def test_rendered_holds_for_what_is_called_within_and_ends_with_it() -> None:
    @checks.rendered()
    def number(value: Any) -> Any:
        with checks.unquoted(False):
            return checks.number(value, "p")

    for _ in range(2):
        with pytest.raises(ParameterError) as caught:
            number("s3cret")
        assert "s3cret" not in str(caught.value)
        with pytest.raises(ParameterError, match="not 's3cret'"):
            checks.number("s3cret", "p")


def test_braces_in_a_rendered_text_are_not_a_template() -> None:
    value = "{{ 7 }}\r\nX: y"
    assert checks.is_open(value)
    with checks.unquoted():
        assert checks.is_open(value), "a mapped task, whose templates are rendered later"
    with checks.rendered():
        assert not checks.is_open(value)
        with pytest.raises(ParameterError, match="control character"):
            RequestSpec(headers={"X-Day": value}).checked()
    assert RequestSpec(headers={"X-Day": value}).checked().headers == {"X-Day": value}


@pytest.mark.parametrize("path", ["$.s3cret[?(", "$[?(@.s3cret ~ 1)]", "s3cret[", "s3cret.", ".s3cret"])
def test_a_rendered_path_is_not_quoted(path: str) -> None:
    with pytest.raises(ParameterError, match="s3cret"):
        compile_path(path)
    for check in (lambda: check_path(path, "p"), lambda: compile_path(path)):
        said = ""
        try:
            with checks.rendered():
                check()
        except ParameterError as error:
            said = str(error)
        assert "s3cret" not in said


@pytest.mark.parametrize("huge", [10**400, -(10**400)], ids=["large", "small"])
def test_a_number_that_no_float_can_hold(huge: int) -> None:
    with pytest.raises(ParameterError, match="must be a number"):
        checks.number(huge, "p")
