"""Each way through the provider, against a server that repeats the credentials it was sent wherever it can.

A task whose name begins with ``ok_`` succeeds; every other one is made to fail.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task
from canary_trigger import CallWithDefect  # type: ignore[import-not-found]  # a folder of plugins

from airflow_provider_apitask import ApiCallOperator, ApiStatusSensor

#: Each kind of authentication, as the id of a connection that has it.
KINDS = (
    *("basic", "bearer", "key_header", "key_query", "key_cookie", "headers", "digest", "oauth1"),
    "oauth1_rsa",
    *("oauth2_basic", "oauth2_body", "oauth2_refresh", "oauth2_password", "session", "proxied", "requests"),
)
#: Those of them that a triggerer can use.
DEFERRED = tuple(kind for kind in KINDS if kind != "requests")
QUICK = {
    "defer_after": 0,
    "poll_interval": 0.3,
    "progress_path": "$.progress",
    "not_found_grace": 0,
    "status_grace": 20,
}
RESULT = {**QUICK, "result_request": "/results/{job_id}"}

log = logging.getLogger(__name__)


def call(task_id: str, conn_id: str, endpoint: str, **kwargs: Any) -> ApiCallOperator:
    return ApiCallOperator(task_id=task_id, api_conn_id=conn_id, endpoint=endpoint, **kwargs)


@dag(dag_id="canary", schedule=None, default_args={"retries": 0})
def canary() -> None:
    @task
    def ok_every_kind(**context: Any) -> None:
        """All kinds in one process: refused, broken, then a job awaited on the worker."""
        for kind in KINDS:
            calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
                ("refuse", "/refuse/400", {}),
                ("break", "/break/500", {"method": "GET"}),
                ("wait", "/jobs/fails", {"deferrable": False, "job": QUICK}),
            )
            for name, endpoint, kwargs in calls:
                operator = call(f"{kind}_{name}", kind, endpoint, body={"rows": 1}, **kwargs)
                try:
                    operator.execute(context)  # type: ignore[arg-type]
                except Exception:
                    log.exception("%s %s", kind, name)
                else:
                    raise AssertionError(f"{kind} {name} was to fail")

    ok_every_kind()
    for kind in DEFERRED:
        call(f"fails_{kind}", kind, "/jobs/fails", job=QUICK)
    for kind in ("key_query", "session"):
        call(f"ok_inline_{kind}", kind, "/jobs/inline", job=QUICK)
    call("ok_sync", "key_query", "/ok", response_path="$.rows")
    call("ok_location", "key_query", "/jobs/location", job=QUICK)
    call("ok_extract", "key_query", "/jobs/extract", job={**QUICK, **EXTRACT})
    call("ok_renewal", "oauth2_short", "/jobs/slow", job=RESULT)
    call("refused", "key_query", "/refuse/400", body={"rows": 1})
    call("broken", "oauth2_basic", "/break/500", method="GET")
    call("long_token", "oauth2_long", "/refuse/422", method="GET")
    call("unknown", "oauth2_long", "/jobs/unknown", job=QUICK)
    call("lost", "basic", "/jobs/lost", job=QUICK)
    call("foreign_location", "key_query", "/jobs/foreign", job=QUICK)
    call("foreign_redirect", "oauth2_basic", "/away", method="GET")
    call("in_path", "key_query", "/jobs/in_path", job=QUICK)
    call("unreachable", "unreachable", "/jobs/inline", job=QUICK)
    call("token_refused", "token_refused", "/ok")
    call("token_down", "token_down", "/ok")
    call("login_refused", "login_refused", "/ok")
    call("csrf", "session", "/refuse/403", require_csrf_token=True)
    call("trigger_failure", "requests", "/jobs/inline", job=QUICK)
    call("timed_out", "key_query", "/jobs/endless", job=QUICK, execution_timeout=timedelta(seconds=4))
    for conn_id, defect in DEFECTS.items():
        CallWithDefect(task_id=conn_id, api_conn_id=conn_id, endpoint="/jobs/slow", job=QUICK, defect=defect)
    call("field_error", "bad_headers", "/ok")
    call("rsa_error", "bad_rsa", "/ok")
    call("in_timeout", "basic", "/ok", timeout=SECRET)
    call("in_method", "basic", "/ok", method=f"{SECRET} {SECRET}")
    call("in_path_of_answer", "basic", "/ok", response_path=f"{SECRET}[")
    for name, value in NO_PLACES.items():
        call(f"in_{name}", "basic", "/jobs/inline", job={**QUICK, name: value})
    ApiStatusSensor(task_id="sensor_no_handle", api_conn_id="basic", handle=SECRET, deferrable=True)
    call("parameter_error", "basic", "/ok", headers={"X-Api-Key": "{{ var.value.author_token }}\nX: y"})
    author = {"X-Api-Key": "{{ var.value.author_token }}", "Accept": "application/json"}
    call("author_header", "basic", "/refuse/400", headers=author, query_params={"q": 1})
    started: Any = call("ok_start", "key_query", "/jobs/location", job=QUICK, wait_for_completion=False)
    handle = started.output["api_job"]
    shared: Any = {"job": QUICK, "deferrable": True}
    started >> ApiStatusSensor(task_id="ok_sensor", api_conn_id="key_query", handle=handle, **shared)
    broken: Any = call("ok_start_failing", "session", "/jobs/fails", job=QUICK, wait_for_completion=False)
    handle = broken.output["api_job"]
    broken >> ApiStatusSensor(task_id="sensor_fails", api_conn_id="session", handle=handle, **shared)


#: Unexpected exceptions in a trigger, by the connection that it uses alone.
DEFECTS = {"broken_library": "library", "broken_oauth2": "library", "broken_trigger": "trigger"}
SECRET = "{{ var.value.author_token }}"
#: Parameters of a job into which a template puts a secret by mistake.
NO_PLACES: dict[str, Any] = {
    "poll_interval": SECRET,
    "final_status_codes": SECRET,
    "unknown_status": SECRET,
    "status_path": f"{SECRET}[",
    "status_request": {"endpoint": "/x", "timeout": SECRET},
}
#: A link that the author picks from the answer, and that holds the key.
EXTRACT = {"extract": {"link": "$.link"}, "status_request": "{link}"}

canary()
