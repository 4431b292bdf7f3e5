"""Rules 8 to 13: what the answer to a status check means, and when the next one is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_apitask.core import answers, problem
from airflow_provider_apitask.core.bodies import parse_json
from airflow_provider_apitask.core.errors import (
    JobCancelledError,
    JobFailedError,
    JobLostError,
    JobTimedOutError,
    OriginError,
    RequestFailedError,
    UnknownStatusError,
)
from airflow_provider_apitask.core.messages import Purpose, Response
from airflow_provider_apitask.core.state import Phase

from .helpers import BASE, DROPPED, HTML, NO_CONNECTION, READ_TIMEOUT, T0, TOO_LARGE, Driven, make_job

RUNNING = {"status": "running"}
DONE = {"status": "succeeded"}
QUEUED = {"status": "queued"}


# -- rule 10: the table, row by row --------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 203, 206])
@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("running", Phase.POLL),
        ("succeeded", Phase.FETCH),
        ("failed", Phase.FAILED),
        ("cancelled", Phase.CANCELLED),
        (None, Phase.POLL),
        ("", Phase.POLL),
        ("no such word", Phase.FAILED),
    ],
)
def test_the_status_in_the_body_decides_whatever_the_code(code: int, word: Any, phase: Phase) -> None:
    driven = Driven.polling()
    driven.answer(code, {"status": word})
    assert driven.phase is phase


@pytest.mark.parametrize(
    ("code", "body"),
    [(204, None), *((code, body) for code in (200, 201) for body in ({"rows": 3}, [1], 5, b"a,b"))],
)
def test_without_a_status_a_good_answer_of_the_monitor_is_the_end(code: int, body: Any) -> None:
    driven = Driven.polling()
    driven.answer(code, body)
    assert driven.phase is Phase.FETCH
    assert driven.done().value == (body.decode() if isinstance(body, bytes) else body)
    assert driven.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("job", [{}, {"status_path": "$.state"}, {"status_request": "/jobs/{job_id}"}])
@pytest.mark.parametrize("body", [None, {"a": 1}])
def test_202_is_running(job: dict[str, Any], body: Any) -> None:
    driven = Driven.polling(make_job(**job))
    for _ in range(50):
        driven.answer(202, body)
    assert driven.phase is Phase.POLL
    assert driven.state.polls == 50


def test_a_new_location_on_202_replaces_the_old() -> None:
    driven = Driven.polling()
    driven.answer(202, None, {"Location": "../q/8"})
    assert driven.request().url == "https://api.example.com/v1/q/8"
    driven.answer(202, RUNNING, {"Location": "9"})
    assert driven.request().url == "https://api.example.com/v1/q/9"


def test_a_location_on_200_replaces_nothing() -> None:
    driven = Driven.polling()
    driven.answer(200, RUNNING, {"Location": "/elsewhere"})
    assert driven.request().url == f"{BASE}/jobs/7"


def test_a_new_location_at_another_origin_is_refused_unless_nobody_follows_it() -> None:
    driven = Driven.polling()
    driven.answer(202, None, {"Location": "https://evil.example/8"})
    assert isinstance(driven.error(), OriginError)
    configured = Driven.polling(make_job(status_request="/mine"))
    configured.answer(202, None, {"Location": "https://evil.example/8"})
    assert configured.request().url == f"{BASE}/mine"


def test_a_303_names_the_result_if_nothing_is_declared() -> None:
    driven = Driven.polling()
    driven.answer(303, None, {"Location": "7/result"})
    assert driven.phase is Phase.FETCH
    request = driven.request()
    assert (request.method, request.url, request.purpose) == ("GET", f"{BASE}/jobs/7/result", Purpose.RESULT)
    driven.answer(200, [1])
    assert driven.done().value == [1]


@pytest.mark.parametrize("location", ["https://evil.example/r", "http://api.example.com/r", "http://[bad"])
def test_a_result_at_another_origin_is_refused(location: str) -> None:
    driven = Driven.polling()
    driven.answer(303, None, {"Location": location})
    error = driven.error()
    assert isinstance(error, OriginError)
    assert error.data["job_id"] == "7"


@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
def test_a_redirect_without_target_is_an_error(code: int) -> None:
    driven = Driven.polling()
    driven.answer(code)
    assert isinstance(driven.error(), RequestFailedError)
    assert str(code) in driven.error().message


def test_304_is_running_unchanged() -> None:
    driven = Driven.polling(status="queued")
    driven.answer(503)
    driven.answer(304)
    assert (driven.phase, driven.state.status) == (Phase.POLL, "queued")


@pytest.mark.parametrize("code", [401, 403])
def test_refused_credentials_end_the_call(code: int) -> None:
    driven = Driven.polling()
    driven.answer(code, {"detail": "Token Expired"})
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    assert "Token Expired" in error.message
    assert error.data["status_code"] == code


def test_404_is_running_within_its_grace() -> None:
    driven = Driven.polling(make_job(not_found_grace=25))
    for _ in range(3):
        driven.answer(404)
        assert driven.phase is Phase.POLL
    assert driven.now == T0 + 20
    driven.answer(404)
    assert driven.phase is Phase.POLL_GRACE


@pytest.mark.parametrize(("interval", "checks"), [(10, 4), (15, 3), (40, 3), (1, 31)])
@pytest.mark.parametrize("submitted_at", [T0 - 100, None])
def test_a_job_is_lost_at_the_third_404_over_30_s(
    interval: float, checks: int, submitted_at: float | None
) -> None:
    driven = Driven.polling(make_job(poll_interval=interval), submitted_at=submitted_at)
    for _ in range(checks):
        assert driven.phase.waiting
        driven.answer(404, {"description": "no such job"})
    error = driven.error()
    assert driven.phase is Phase.LOST
    assert isinstance(error, JobLostError)
    assert "no such job" in error.message
    assert not error.retryable


@pytest.mark.parametrize("between", [(200, RUNNING), (503, None), (404, HTML), (304, None)])
def test_only_404s_of_the_api_in_a_row_count(between: tuple[int, Any]) -> None:
    driven = Driven.polling(make_job(not_found_grace=0))
    for _ in range(5):
        driven.answer(404)
        driven.answer(404)
        driven.answer(*between)
    assert driven.phase.waiting
    driven.answer(200, DONE)
    assert driven.phase is Phase.FETCH


def test_an_html_404_never_means_lost() -> None:
    driven = Driven.polling(make_job(not_found_grace=0, status_grace=55))
    for _ in range(6):
        driven.answer(404, HTML, content_type="text/html")
        assert driven.phase is Phase.POLL_GRACE
    driven.answer(404, HTML, content_type="text/html")
    assert isinstance(driven.error(), RequestFailedError)
    assert "page of a proxy" in driven.error().message


def test_404s_are_counted_across_processes() -> None:
    driven = Driven.polling(make_job(not_found_grace=0, poll_interval=15))
    driven.answer(404)
    driven.answer(404)
    driven = driven.through_json()
    driven.answer(404)
    assert driven.phase is Phase.LOST


def test_410_is_lost_however_early() -> None:
    driven = Driven.polling()
    driven.answer(410)
    assert driven.phase is Phase.LOST


@pytest.mark.parametrize(
    "what", [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 511, 599, NO_CONNECTION, READ_TIMEOUT, DROPPED]
)
def test_a_failing_check_is_no_failed_job(what: Any) -> None:
    driven = Driven.polling()
    driven.answer(what) if isinstance(what, int) else driven.tell(what)
    assert driven.phase is Phase.POLL_GRACE
    assert driven.next_wait() == 10
    driven.answer(200, DONE)
    assert driven.phase is Phase.FETCH


@pytest.mark.parametrize("code", [400, 402, 405, 406, 409, 418, 422, 451, 999])
def test_other_codes_end_the_call(code: int) -> None:
    driven = Driven.polling()
    driven.answer(code, {"message": "no way"})
    assert driven.phase is Phase.FAILED
    assert "no way" in driven.error().message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (HTML, "text/html"),
        (b"{", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"status": NaN}', "application/json"),
    ],
)
@pytest.mark.parametrize("job", [{}, {"status_path": "$.status"}])
def test_an_answer_that_is_none_is_a_failed_check(
    body: bytes, content_type: str, job: dict[str, Any]
) -> None:
    driven = Driven.polling(make_job(**job))
    driven.answer(200, body, content_type=content_type)
    assert driven.phase is Phase.POLL_GRACE
    driven.answer(200, RUNNING)
    assert driven.phase is Phase.POLL


def test_a_check_that_is_too_large_is_not_repeated() -> None:
    driven = Driven.polling()
    driven.tell(TOO_LARGE)
    assert driven.phase is Phase.FAILED
    assert "max_response_bytes" in driven.error().message


# -- rule 11: the window of failing checks -------------------------------------------------------


def test_the_window_closes_and_the_error_names_the_last_answer() -> None:
    driven = Driven.polling(make_job(status_grace=30))
    driven.answer(503)
    driven.tell(READ_TIMEOUT)
    driven.answer(500)
    driven.answer(502, {"message": "bad gateway"})
    error = driven.error()
    assert isinstance(error, RequestFailedError)
    for part in ("for 30 s", "4 checks", "502", "bad gateway", "job.status_grace", "may still be running"):
        assert part in error.message


def test_a_good_check_opens_a_new_window() -> None:
    driven = Driven.polling(make_job(status_grace=15))
    for _ in range(5):
        driven.answer(503)
        driven.answer(503)
        driven.answer(200, RUNNING)
    assert driven.phase is Phase.POLL
    assert driven.state.failing_since is None


def test_no_window_at_all() -> None:
    driven = Driven.polling(make_job(status_grace=0))
    driven.answer(503)
    assert driven.phase is Phase.FAILED


def test_final_codes_go_before_everything() -> None:
    for code in (404, 500, 503):
        driven = Driven.polling(make_job(final_status_codes=[404, 500, 503]))
        driven.answer(code, {"errors": ["Invalid job id"]})
        error = driven.error()
        assert isinstance(error, JobFailedError)
        assert "Invalid job id" in error.message


def test_events_tell_of_changes_only() -> None:
    driven = Driven.polling(make_job(progress_path="$.p"))
    kinds = [
        event.kind.value if (event := driven.answer(code, body)) else None
        for code, body in [
            (200, RUNNING), (200, RUNNING), (200, QUEUED), (200, QUEUED),
            (503, None), (503, None), (200, QUEUED), (200, DONE),
        ]
    ]  # fmt: skip
    assert kinds == ["status", None, "status", None, "failing", None, "recovered", "job_done"]


def test_a_progress_that_moves_with_each_check_is_told_once_a_minute() -> None:
    driven = Driven.polling(make_job(progress_path="$.p", poll_interval=10))
    lines = []
    for step in range(30):
        # In another process each time: worker and triggerer do not tell the same twice.
        driven = driven.through_json()
        if (event := driven.answer(200, RUNNING | {"p": step})) is not None:
            lines.append((driven.now - T0, event.message))
    assert lines == [
        (at, f"Job 7: status 'running', progress {at // 10:.0f}.") for at in (0, 60, 120, 180, 240)
    ]


def test_a_progress_that_stopped_is_told_once_when_its_minute_is_over() -> None:
    driven = Driven.polling(make_job(progress_path="$.p", poll_interval=10))
    bodies = [RUNNING | {"p": p} for p in (1, 2, *[3] * 20)]
    events = [driven.answer(200, body) for body in bodies]
    assert [index for index, event in enumerate(events) if event is not None] == [0, 6]
    assert "progress 3" in driven.events[-1].message


def test_a_change_of_status_or_message_is_told_at_once() -> None:
    driven = Driven.polling(make_job(progress_path="$.p", message_path="$.m"))
    steps = [
        (RUNNING, True), (RUNNING, False), (RUNNING | {"p": 1}, False),
        (RUNNING | {"p": 2, "m": "copying"}, True),
        (RUNNING | {"p": 3, "m": "copying"}, False), (QUEUED | {"p": 3, "m": "copying"}, True),
        (QUEUED | {"p": 4}, True), (QUEUED | {"p": 5}, False),
    ]  # fmt: skip
    assert [driven.answer(200, body) is not None for body, _ in steps] == [told for _, told in steps]
    assert driven.events[1].message == "Job 7: status 'running', progress 2: 'copying'."
    done = driven.answer(200, DONE | {"m": "3 rows\nforged: line"})
    assert done is not None
    assert "status 'succeeded': '3 rows\\nforged: line'; its" in done.message


def test_a_message_of_which_numbers_alone_change_is_a_progress() -> None:
    driven = Driven.polling(make_job(message_path="$.m", poll_interval=10))
    texts = [*(f"worked for {i}.5 of 1,000 s" for i in range(13)), "sorting 7 files"]
    events = [driven.answer(200, RUNNING | {"m": text}) for text in texts]
    assert [index for index, event in enumerate(events) if event is not None] == [0, 6, 12, 13]


def test_a_change_is_told_where_a_condition_says_that_it_runs() -> None:
    driven = Driven.polling(make_job(running_when={"$.go": True}, message_path="$.m"))
    events = [driven.answer(200, {"go": True, "status": "odd", "m": m}) for m in "aabb"]
    assert [event is not None for event in events] == [True, False, True, False]


def test_a_secret_in_a_message_is_not_told_and_does_not_count_as_a_change() -> None:
    driven = Driven.polling(make_job(message_path="$.m"))
    driven.operation.api.redactor.add("s3cret-value")
    events = [driven.answer(200, RUNNING | {"m": "as s3cret-value"}) for _ in range(2)]
    assert events[0] is not None
    assert events[1] is None
    assert "s3cret" not in f"{events[0]} {driven.state.to_dict()}"


def test_a_202_without_a_status_tells_progress_and_keeps_the_status() -> None:
    driven = Driven.polling(make_job(message_path="$.m"))
    driven.answer(200, RUNNING | {"m": "a"})
    event = driven.answer(202, {"m": "b"})
    assert event is not None
    assert event.message == "Job 7: status 'running': 'b'."


def test_the_last_answer_tells_the_last_progress() -> None:
    driven = Driven.polling(make_job(progress_path="$.p"))
    driven.answer(200, RUNNING | {"p": 35})
    driven.answer(200, DONE | {"p": 100})
    assert driven.operation.state.progress == 100


# -- rule 12: status words -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["PartiallySucceeded", "unsuccessful", "done?", "x", True, 3, 1.5, {"a": 1}, ["running"]]
)
def test_a_word_in_no_list_fails_loudly_and_is_named(word: Any) -> None:
    driven = Driven.polling()
    driven.answer(200, {"status": word})
    error = driven.error()
    assert isinstance(error, UnknownStatusError)
    assert not error.retryable
    shown = word if isinstance(word, (str, bool, int, float)) else json.dumps(word)
    for part in (repr(shown), "$.status", f"GET {BASE}/jobs/7", "200 OK", "job.success_values"):
        assert part in error.message


@pytest.mark.parametrize("word", ["odd", 3, {"deep": 1}])
def test_unknown_means_running_where_the_author_says_so(word: Any) -> None:
    driven = Driven.polling(make_job(unknown_status="running"))
    driven.answer(200, {"status": word})
    assert driven.phase is Phase.POLL


def test_numbers_and_booleans() -> None:
    job = make_job(status_path="$.done", success_values=[True], running_values=[False])
    driven = Driven.polling(job)
    driven.answer(200, {"done": False})
    assert driven.phase is Phase.POLL
    driven.answer(200, {"done": True})
    assert driven.phase is Phase.FETCH


@pytest.mark.parametrize("body", [{}, {"state": "x"}, [], None, b"text", {"status": {}}])
def test_a_status_that_is_not_there_is_a_failed_check_and_fails_when_the_window_closes(body: Any) -> None:
    driven = Driven.polling(make_job(status_path="$.status.word", status_grace=15))
    driven.answer(200, body)
    assert driven.phase is Phase.POLL_GRACE
    driven.answer(200, body)
    driven.answer(200, body)
    error = driven.error()
    for part in ("job.status_path", "$.status.word", "200 OK"):
        assert part in error.message


def test_a_huge_status_is_cut() -> None:
    driven = Driven.polling(make_job(unknown_status="running"))
    driven.answer(200, {"status": "x" * 100_000})
    assert len(json.dumps(driven.state.to_dict())) < 1000


@pytest.mark.parametrize(
    ("body", "job", "said"),
    [
        ({"message": "disk full"}, {}, "disk full"),
        ({"error": {"code": "E1", "message": "disk full"}}, {}, "E1: disk full"),
        ({"why": {"text": "disk full"}}, {"error_path": "$.why.text"}, "disk full"),
        ({"why": {"message": "disk full"}}, {"error_path": "$.why"}, "disk full"),
        ({}, {"error_path": "$.nothing"}, '{"status": "failed"}'),
        ({"title": "My job", "message": "disk full"}, {}, "disk full"),
        ({}, {}, '{"status": "failed"}'),
    ],
)
def test_the_reason_of_a_failed_job(body: dict[str, Any], job: dict[str, Any], said: str) -> None:
    driven = Driven.polling(make_job(**job))
    driven.answer(200, {"status": "failed", **body})
    error = driven.error()
    assert isinstance(error, JobFailedError)
    for part in ("Job 7", "'failed'", said):
        assert part in error.message
    assert error.data["job_id"] == "7"
    assert error.data["status"] == "failed"


def test_cancelled_on_the_server() -> None:
    driven = Driven.polling()
    driven.answer(200, {"status": "dismissed", "message": "by admin"})
    error = driven.error()
    assert isinstance(error, JobCancelledError)
    assert "by admin" in error.message


# -- rule 8: waits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "job", "wait"),
    [
        ({}, {}, 10),
        ({"Retry-After": "3"}, {}, 3),
        ({"Retry-After": "120"}, {}, 120),
        ({"Retry-After": "0"}, {}, 1),
        ({"Retry-After": "-1"}, {}, 1),
        ({"Retry-After": "junk"}, {}, 10),
        ({"Retry-After": ""}, {}, 10),
        ({"Retry-After": "9" * 400}, {}, 3600),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT"}, {}, 30),
        ({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, {}, 1),
        ({"x-ms-retry-after-ms": "4000", "Retry-After": "99"}, {}, 4),
        ({"Retry-After": "120"}, {"max_poll_interval": 60}, 60),
        ({}, {"max_poll_interval": 5}, 10),
        ({"Retry-After": "99"}, {"max_poll_interval": 5}, 10),
        ({}, {"poll_interval": 7200}, 7200),
    ],
)
@pytest.mark.parametrize("code", [200, 503])
def test_the_next_wait(code: int, headers: dict[str, str], job: dict[str, Any], wait: float) -> None:
    driven = Driven.polling(make_job(**job))
    driven.answer(code, RUNNING if code == 200 else None, headers)
    assert driven.next_wait() == pytest.approx(wait)


def test_a_wait_of_the_server_holds_once() -> None:
    driven = Driven.polling()
    driven.answer(200, RUNNING, {"Retry-After": "3"})
    driven.answer(200, RUNNING)
    assert driven.waits == [3]
    assert driven.next_wait() == 10


@pytest.mark.parametrize(
    ("job", "waits"),
    [
        ({"poll_factor": 2, "max_poll_interval": 35}, [10, 20, 35, 35]),
        ({"poll_factor": 1.5}, [10, 15, 22.5, 33.75]),
        ({}, [10, 10, 10, 10]),
    ],
)
def test_growing_intervals(job: dict[str, Any], waits: list[float]) -> None:
    driven = Driven.polling(make_job(**job))
    for _ in range(5):
        driven.answer(200, RUNNING)
    assert driven.waits == waits


def test_growth_has_an_end_and_does_not_overflow() -> None:
    driven = Driven.polling(make_job(poll_factor=1e9), polls=10_000)
    driven.answer(200, RUNNING)
    assert driven.next_wait() == 3600


# -- rule 13: limits -----------------------------------------------------------------------------


def test_without_a_deadline_a_job_runs_as_long_as_it_is_healthy() -> None:
    driven = Driven.polling()
    for _ in range(1000):
        driven.answer(200, RUNNING)
    assert driven.phase is Phase.POLL


def test_a_check_is_made_at_the_deadline_before_giving_up() -> None:
    driven = Driven.polling(make_job(deadline=25), deadline_at=T0 + 25)
    for _ in range(4):
        driven.answer(200, RUNNING)
    assert driven.waits == [10, 10, 5]
    error = driven.error()
    assert driven.phase is Phase.TIMED_OUT
    assert isinstance(error, JobTimedOutError)
    for part in ("deadline, 25 s", "'running'", "may still be running"):
        assert part in error.message


def test_a_job_that_is_done_at_its_deadline_has_succeeded() -> None:
    driven = Driven.polling(deadline_at=T0)
    driven.answer(200, DONE)
    assert driven.phase is Phase.FETCH


def test_after_a_restart_beyond_the_deadline_one_check_is_made() -> None:
    for body, phase in ((RUNNING, Phase.TIMED_OUT), (DONE, Phase.FETCH)):
        driven = Driven.polling(make_job(deadline=25), deadline_at=T0 + 25, next_at=T0 + 20).through_json()
        driven.now = T0 + 5000
        driven.answer(200, body)
        assert driven.phase is phase


def test_a_failing_check_at_the_deadline_is_named() -> None:
    driven = Driven.polling(deadline_at=T0)
    driven.answer(503)
    assert driven.phase is Phase.TIMED_OUT
    assert "503" in driven.error().message


def test_a_wait_of_the_server_does_not_go_beyond_the_deadline() -> None:
    driven = Driven.polling(deadline_at=T0 + 25)
    driven.answer(200, RUNNING, {"Retry-After": "100"})
    assert driven.next_wait() == 25


@pytest.mark.parametrize("code", [200, 202, 304, 503])
def test_max_polls_counts_every_check(code: int) -> None:
    driven = Driven.polling(make_job(max_polls=3))
    for _ in range(3):
        driven.answer(code, RUNNING if code in (200, 202) else None)
    assert driven.phase is Phase.TIMED_OUT
    assert "3 checks" in driven.error().message


def test_the_last_of_max_polls_may_succeed() -> None:
    driven = Driven.polling(make_job(max_polls=1))
    driven.answer(200, DONE)
    assert driven.phase is Phase.FETCH


# -- each response is parsed once ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "job"),
    [
        (200, RUNNING, {}),
        (200, DONE, {"success_when": {"$.status": "succeeded"}, "failure_when": {"$.status": "bad"}}),
        (
            200,
            RUNNING,
            {"running_when": {"$.status": "running"}, "progress_path": "$.n", "message_path": "$.m"},
        ),
        (200, {"status": "failed", "error": "no"}, {"error_path": "$.error"}),
        (200, {"state": "?"}, {"status_path": "$.status"}),
        (503, {"message": "later"}, {"failure_when": {"status_code": 503, "$.message": "never"}}),
        (409, {"message": "not there"}, {}),
    ],
)
def test_a_status_response_is_parsed_once(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, job: dict[str, Any]
) -> None:
    parsed: list[Response] = []

    def counted(response: Response) -> Any:
        parsed.append(response)
        return parse_json(response)

    for module in (answers, problem):
        monkeypatch.setattr(module, "parse_json", counted)
    Driven.polling(make_job(**job)).answer(status, body)
    assert len(parsed) == 1
