"""Where a result goes: XCom within its bound, or a file or storage, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_apitask import ApiCallOperator, Pagination, exceptions
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.operators import places
from airflow_provider_apitask.operators.output import Output
from tests.airflow.helpers import FAST, Comms, KilledError, TaskInstance, call, context_for, needs_store, run
from tests.support import Answer, Recorded
from tests.support.job_server import JobServer

CURSOR = {"items": "items", "cursor": "next", "cursor_param": "cursor"}
JOB = {**FAST, "result_request": "/jobs/{job_id}/result", "job_id": "$.id"}


def get(endpoint: str = "/data", **kwargs: Any) -> Any:
    """Run a GET: its value."""
    task = call(method="GET", endpoint=endpoint, **kwargs)
    return task.execute(context_for(task))


def failing(kind: type[BaseException] = exceptions.ApiTaskError, **kwargs: Any) -> Any:
    with pytest.raises(kind) as caught:
        get(**kwargs)
    return caught.value


def pages(jobs: JobServer, method: str, path: str, numbers: int) -> None:
    """Pages of two items each, by a cursor in the query."""

    def answer(request: Recorded) -> Answer:
        at = int(dict(request.query).get("cursor", 0))
        last = at + 1 == numbers
        return Answer(
            json={"items": [{"n": 2 * at}, {"n": 2 * at + 1}], "next": None if last else str(at + 1)}
        )

    jobs.on(method, path, answer)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object storage in memory, also by a connection."""
    from airflow.sdk.io import store
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(store, "_STORE_CACHE", {})
    for conn_id in (None, "my_conn"):
        store.attach("memory", conn_id=conn_id, fs=MemoryFileSystem())


# -- one answer to a file ------------------------------------------------------------------------


@pytest.mark.parametrize("as_url", [False, True])
def test_an_answer_is_stored_as_it_came(jobs: JobServer, tmp_path: Path, as_url: bool) -> None:
    content = bytes(range(256)) * 1000
    jobs.on("GET", "/data", Answer(body=content, headers={"Content-Type": "application/x-parquet"}))
    target = tmp_path / "new folder" / "a b.parquet"
    path = target.as_uri() if as_url else str(target)
    assert get(output_path=path) == {
        "path": path,
        "size": len(content),
        "sha256": digest(content),
        "content_type": "application/x-parquet",
    }
    assert target.read_bytes() == content
    assert names(target.parent) == ["a b.parquet"]


def test_its_content_coding_is_taken_off(jobs: JobServer, tmp_path: Path) -> None:
    content = b"0" * 20_000_000
    jobs.on("GET", "/data", Answer(body=gzip.compress(content), headers={"Content-Encoding": "gzip"}))
    assert get(output_path=str(tmp_path / "x"))["sha256"] == digest(content)


def test_the_path_is_a_template(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(text="a,b\n1,2\n"))
    found = get(output_path=f"{tmp_path}/{{{{ ti.run_id }}}}.csv")
    assert found["path"] == f"{tmp_path}/r.csv"
    assert (tmp_path / "r.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("path", ["memory://bucket/folder/x.txt", "memory://my_conn@bucket/folder/x.txt"])
def test_any_object_storage(jobs: JobServer, storage: None, path: str) -> None:
    from airflow.sdk import ObjectStoragePath

    jobs.on("GET", "/data", Answer(text="new"))
    target = ObjectStoragePath(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(b"old")
    assert get(output_path=path)["size"] == 3
    assert target.read_bytes() == b"new"
    jobs.on("GET", "/data", Answer(size=500_000, truncate=300_000))
    assert "the connection broke" in failing(output_path=path).message
    pages(jobs, "GET", "/data", 2)
    assert get(output_path=path, pagination=CURSOR)["items"] == 4
    assert target.read_bytes().count(b"\n") == 4
    assert [path.name for path in target.parent.iterdir()] == ["x.txt"]


def test_the_result_of_a_job(jobs: JobServer, tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    found = run(call(job=JOB, output_path=str(target)))
    assert json.loads(target.read_text()) == {"rows": 3}
    assert (found["size"], found["content_type"]) == (target.stat().st_size, "application/json")


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_result_that_is_in_the_status(jobs: JobServer, tmp_path: Path, deferrable: bool) -> None:
    target = tmp_path / "x.json"
    task = call(job=FAST, output_path=str(target), deferrable=deferrable)
    found = run(task) if deferrable else task.execute(context_for(task))
    assert json.loads(target.read_text())["status"] == "succeeded"
    assert found["sha256"] == digest(target.read_bytes())


def test_without_content(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(204))
    assert get(output_path=str(tmp_path / "x"))["size"] == 0
    assert (tmp_path / "x").read_bytes() == b""


def test_an_answer_that_breaks_off_is_asked_for_again(jobs: JobServer, tmp_path: Path) -> None:
    jobs.once("GET", "/data", Answer(size=500_000, truncate=300_000), Answer(503))
    jobs.on("GET", "/data", Answer(size=500_000))
    found = get(output_path=str(tmp_path / "x"), retry_count=2, retry_wait=0.01)
    assert found["sha256"] == digest(b"x" * 500_000)
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(size=500_000, truncate=300_000), "the connection broke"),
        (Answer(size=500_000, truncate=300_000, chunked=True), "the connection broke"),
        (Answer(404, {"detail": "no such table"}), "no such table"),
        (
            Answer(body=b"<!doctype html><p>Sign in" + b" " * 5000, headers={"Content-Type": "text/html"}),
            "HTML page",
        ),
        (Answer(size=600_001), "over 600000 bytes"),
        (Answer(size=600_001, chunked=True), "over 600000 bytes"),
        (Answer(body=b"\x1f\x8bjunk", headers={"Content-Encoding": "gzip"}), "not valid gzip"),
        (
            Answer(body=gzip.compress(b"x" * 9000)[:-9], headers={"Content-Encoding": "gzip"}),
            "not valid gzip",
        ),
        (Answer(body=gzip.compress(b"0" * 50_000_000), headers={"Content-Encoding": "gzip"}), "over 600000"),
    ],
)
def test_what_fails_leaves_nothing_and_what_was_there(
    jobs: JobServer, tmp_path: Path, answer: Answer, text: str
) -> None:
    jobs.on("GET", "/data", answer)
    (tmp_path / "x").write_text("of yesterday")
    error = failing(output_path=str(tmp_path / "x"), max_response_bytes=600_000)
    assert text in error.message
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "of yesterday"


def test_a_drip_ends_within_its_time(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(size=100_000, bytes_per_second=200))
    error = failing(output_path=str(tmp_path / "x"), timeout=(0.3, 0.3))
    assert "not complete after" in error.message
    assert names(tmp_path) == []


def test_one_that_keeps_coming_may_take_longer(
    jobs: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_apitask.drivers import wire

    # By the timeout alone, without what has come, these bytes would have to be there within 3.3 s.
    monkeypatch.setattr(wire, "SLOWEST_UPLOAD", 10_000)
    jobs.on("GET", "/data", Answer(size=400_000, bytes_per_second=100_000))
    assert get(output_path=str(tmp_path / "x"), timeout=(0.3, 0.3))["size"] == 400_000


def test_a_place_that_cannot_be_written(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(text="a"))
    jobs.on("POST", "/data", Answer(text="a"))
    (tmp_path / "file").write_text("")
    error = failing(exceptions.StorageError, output_path=str(tmp_path / "file" / "x"))
    assert f"{tmp_path}/file/x could not be opened: Not a directory" in error.message
    assert error.retryable
    with pytest.raises(AirflowFailException, match="could not be opened"):  # a try more would do it again
        _post(tmp_path / "file" / "x")


def test_a_disk_that_is_full(jobs: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened = places._File.open

    def full(self: Any) -> Any:
        opened(self).close()
        return Full()

    monkeypatch.setattr(places._File, "open", full)
    jobs.on("GET", "/data", Answer(size=500_000))
    error = failing(exceptions.StorageError, output_path=str(tmp_path / "x"))
    assert "x could not be written: No space left on device" in error.message
    assert names(tmp_path) == []
    pages(jobs, "GET", "/data", 2)
    failing(exceptions.StorageError, output_path=str(tmp_path / "x"), pagination=CURSOR)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["path", "storage"])
def test_a_path_object(jobs: JobServer, storage: None, tmp_path: Path, kind: str) -> None:
    from airflow.sdk import ObjectStoragePath

    jobs.on("GET", "/data", Answer(text="new"))
    target: Any = tmp_path / "x" if kind == "path" else ObjectStoragePath("memory://my_conn@bucket/y.txt")
    assert get(output_path=target)["path"] == str(target)
    assert target.read_bytes() == b"new"


def _post(path: Path) -> Any:
    task = call(endpoint="/data", output_path=str(path))
    return task.execute(context_for(task))


def _make(path: Path, kind: str) -> None:
    if kind == "a directory":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a symbolic link":
        path.symlink_to(path.with_name("elsewhere"))
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))


@pytest.mark.parametrize("kind", ["a directory", "a FIFO", "a socket", "a symbolic link"])
def test_only_a_regular_file_is_replaced(jobs: JobServer, tmp_path: Path, kind: str) -> None:
    _make(tmp_path / "x", kind)
    error = failing(exceptions.ParameterError, output_path=str(tmp_path / "x"))
    assert f"{tmp_path}/x is {kind}, and only a regular file is replaced" in error.message
    assert jobs.history == []
    assert names(tmp_path) == ["x"]


def test_what_takes_the_place_of_the_target_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    made = Output(str(tmp_path / "x"), unique="a").begin()
    _make(tmp_path / "x", "a FIFO")
    with pytest.raises(exceptions.StorageError, match=r"could not be moved into place: .* is a FIFO"):
        made.commit()
    assert stat.S_ISFIFO((tmp_path / "x").lstat().st_mode)


def test_the_file_is_private_and_no_name_can_be_guessed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    parts = []
    for _ in range(2):
        made = Output(str(tmp_path / "x"), unique="a").begin()
        parts += [name for name in names(tmp_path) if name.endswith(".part")]
        made.write(b"new")
        made._close()  # as the end of its process does
    assert len(set(parts)) == 2
    assert [name for name in names(tmp_path) if name in parts] == parts[1:], "the first one is removed"
    made.begin().write(b"new")
    made.commit()
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["a FIFO", "a symbolic link", "a hard link"])
def test_what_somebody_else_has_put_there_is_not_gone_on_with(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.write_text("1\n2\n")
    planted = tmp_path / ".x.a.0123.part"
    if kind == "a FIFO":
        os.mkfifo(planted)
    elif kind == "a symbolic link":
        planted.symlink_to(other)
    else:
        planted.hardlink_to(other)
    made = Output(str(tmp_path / "x"), unique="a")
    assert not made.continues(1)
    made.write_items([3])
    made.commit()
    assert (tmp_path / "x").read_text() == "3\n"
    assert other.read_text() == "1\n2\n"


@pytest.mark.parametrize("path", ["nowhere://bucket/x", "/tmp/", "s3://", "file:///", "x/.."])
def test_a_path_that_names_no_file_fails_before_anything_is_sent(jobs: JobServer, path: str) -> None:
    error = failing(exceptions.ParameterError, output_path=path)
    assert "output_path" in error.message
    assert jobs.history == []


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_a_synchronous_call(jobs: JobServer, method: str) -> None:
    pages(jobs, method, "/data", 3)
    task = call(method=method, endpoint="/data", body={"q": 1}, pagination=Pagination(**CURSOR))  # type: ignore[arg-type]
    assert task.execute(context_for(task)) == [{"n": n} for n in range(6)]
    assert [request.json() for request in jobs.history] == [{"q": 1}] * 3


def test_pages_of_a_jobs_result(jobs: JobServer) -> None:
    pages(jobs, "GET", "/jobs/job-1/result", 3)
    assert run(call(job=JOB, pagination=CURSOR)) == [{"n": n} for n in range(6)]
    assert len(jobs.requests("POST")) == 1


def test_pages_are_templates(jobs: JobServer) -> None:
    pages(jobs, "GET", "/data", 2)
    found = get(pagination={**CURSOR, "cursor_param": "{{ 'cur' }}sor", "max_pages": "{{ 2 }}"})
    assert len(found) == 4


@pytest.mark.parametrize("way", ["sync", "job"])
def test_pages_to_a_file(jobs: JobServer, tmp_path: Path, way: str) -> None:
    pages(jobs, "GET", "/data", 3)
    pages(jobs, "GET", "/jobs/job-1/result", 3)
    path = tmp_path / "x.jsonl"
    given: dict[str, Any] = {"pagination": CURSOR, "output_path": str(path)}
    found = get(**given) if way == "sync" else run(call(job=JOB, **given))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"n": n} for n in range(6)]
    counts = {"pages": 3, "items": 6, "size": path.stat().st_size, "content_type": "application/x-ndjson"}
    assert found == {"path": str(path), "sha256": digest(path.read_bytes()), **counts}
    assert names(tmp_path) == ["x.jsonl"]


def test_no_items_at_all(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(json={"items": []}))
    found = get(pagination=CURSOR, output_path=str(tmp_path / "x"))
    assert (found["items"], found["size"], names(tmp_path)) == (0, 0, ["x"])


def test_any_text_is_a_line(jobs: JobServer, tmp_path: Path) -> None:
    items = ["a\nb", "\u2028", "é", "\ud800", {"a": None}, 0.1, 10**30]
    jobs.on(
        "GET", "/data", Answer(body=json.dumps(items).encode(), headers={"Content-Type": "application/json"})
    )
    get(pagination={"link_header": True}, output_path=str(tmp_path / "x"))
    assert [json.loads(line) for line in (tmp_path / "x").read_bytes().split(b"\n")[:-1]] == items


def test_a_page_that_fails_for_good_leaves_nothing(jobs: JobServer, tmp_path: Path) -> None:
    jobs.on("GET", "/data", Answer(json={"items": [1], "next": "b"}), Answer(403, {"detail": "not yours"}))
    error = failing(pagination=CURSOR, output_path=str(tmp_path / "x"))
    assert "page 2 of its result could not be fetched" in error.message
    assert "not yours" in error.message
    assert names(tmp_path) == []


def _killed_at_page(
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    comms: Comms,
    tmp_path: Path,
    make: Callable[[], ApiCallOperator],
) -> None:
    """Run a try whose process is gone when it has recorded a page."""

    def before(message: Any) -> None:
        if type(message).__name__ != "SetTaskStateStore":
            return
        paging = message.value["state"].get("paging") or {}
        if paging.get("pages") == number + 1:
            raise KilledError

    comms.before = before
    with monkeypatch.context() as patch:
        patch.setattr(Output, "discard", Output._close)  # a process that is gone removes nothing
        task = make()
        with pytest.raises(KilledError):
            _whole(task)
    comms.before = lambda message: None
    assert any(name.endswith(".part") for name in names(tmp_path))


def _whole(task: ApiCallOperator, **ti: Any) -> Any:
    return task.execute(context_for(task, ti=TaskInstance("t", max_tries=3, **ti)))


@needs_store
@pytest.mark.parametrize("way", ["sync", "post", "job"])
def test_a_retry_goes_on_with_the_page_that_comes_next(
    jobs: JobServer, comms: Comms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pages(jobs, "POST" if way == "post" else "GET", "/data", 6)
    pages(jobs, "GET", "/jobs/job-1/result", 6)
    path = tmp_path / "x.jsonl"

    def make() -> ApiCallOperator:
        given: dict[str, Any] = {"pagination": CURSOR, "output_path": str(path), "deferrable": False}
        if way == "job":
            return call(job=JOB, **given)
        return call(method="POST" if way == "post" else "GET", endpoint="/data", **given)

    _killed_at_page(3, monkeypatch, comms, tmp_path, make)
    assert not path.exists()
    jobs.history.clear()
    found = _whole(make(), try_number=2)
    # The page of which the record was not written any more is asked for again.
    assert [dict(request.query)["cursor"] for request in jobs.history] == ["3", "4", "5"]
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == list(range(12))
    assert (found["pages"], found["items"], found["sha256"]) == (6, 12, digest(path.read_bytes()))
    assert names(tmp_path) == ["x.jsonl"]


@needs_store
@pytest.mark.parametrize("left", ["gone", "shorter"])
def test_or_anew_where_what_was_stored_is_not_there(
    jobs: JobServer, comms: Comms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    pages(jobs, "GET", "/jobs/job-1/result", 4)
    path = tmp_path / "x.jsonl"

    def make() -> ApiCallOperator:
        return call(job=JOB, pagination=CURSOR, output_path=str(path), deferrable=False)

    _killed_at_page(2, monkeypatch, comms, tmp_path, make)
    (part,) = tmp_path.iterdir()
    part.unlink() if left == "gone" else part.write_bytes(part.read_bytes()[:20])
    assert _whole(make(), try_number=2)["items"] == 8
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == list(range(8))
    assert len(jobs.requests("POST")) == 1  # the pages begin anew, never the job


@needs_store
def test_pages_in_memory_begin_anew_and_the_job_does_not(
    jobs: JobServer, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages(jobs, "GET", "/jobs/job-1/result", 3)
    jobs.once("GET", "/jobs/job-1/result", Answer(json={"items": [], "next": "1"}), Answer(403))
    make = lambda: call(job=JOB, pagination=CURSOR, deferrable=False)  # noqa: E731
    with pytest.raises(exceptions.RequestFailedError):
        _whole(make())
    assert "paging" not in json.dumps(comms.record())
    assert len(_whole(make(), try_number=2)) == 6
    assert len(jobs.requests("POST")) == 1


@needs_store
def test_a_clear_begins_anew(
    jobs: JobServer, comms: Comms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages(jobs, "GET", "/data", 4)

    def make() -> ApiCallOperator:
        return call(method="GET", endpoint="/data", pagination=CURSOR, output_path=str(tmp_path / "x"))

    _killed_at_page(2, monkeypatch, comms, tmp_path, make)
    jobs.history.clear()
    task = make()
    assert task.execute(context_for(task, ti=TaskInstance("t", max_tries=9)))["items"] == 8
    assert len(jobs.history) == 4


@pytest.mark.parametrize("stored", [False, True])
def test_each_page_is_validated(jobs: JobServer, tmp_path: Path, stored: bool) -> None:
    jobs.on("GET", "/data", Answer(json={"items": [1], "next": "b"}), Answer(json={"error": "busy"}))
    given: dict[str, Any] = {"output_path": str(tmp_path / "x")} if stored else {}
    rules = {"required_fields": ["items"]}
    error = failing(exceptions.ResponseValidationError, pagination=CURSOR, response_validation=rules, **given)
    assert "cursor=b" in error.message
    assert names(tmp_path) == []


def test_pages_can_be_validated_alone(jobs: JobServer) -> None:
    pages(jobs, "GET", "/data", 3)
    rules = {"required_fields": ["items"]}
    assert get(pagination=CURSOR, response_handling="validate", response_validation=rules) is None
    assert len(jobs.history) == 3


@pytest.mark.parametrize("codes", [201, 404])
def test_the_code_of_a_stored_answer(jobs: JobServer, tmp_path: Path, codes: int) -> None:
    rules = {"expected_status_code": codes}
    jobs.on("GET", "/data", Answer(200, text="wrong"))
    failing(exceptions.ResponseValidationError, output_path=str(tmp_path / "x"), response_validation=rules)
    assert names(tmp_path) == []
    jobs.on("GET", "/data", Answer(codes, text="right"))
    get(output_path=str(tmp_path / "x"), response_validation=rules)
    assert (tmp_path / "x").read_text() == "right"


# -- XCom ----------------------------------------------------------------------------------------


def test_what_is_too_large_for_xcom_names_the_remedies(jobs: JobServer) -> None:
    jobs.on("GET", "/data", Answer(json="é" * 600_000))
    error = failing(exceptions.ResultTooLargeError)
    assert isinstance(error, AirflowFailException)
    assert "1200002 bytes, and XCom is to hold 1048576 (max_xcom_bytes)" in error.message
    for remedy in ("response_path", "output_path", "max_xcom_bytes", "pagination.max_items"):
        assert remedy in error.message
    assert len(get(max_xcom_bytes=2_000_000)) == 600_000
    assert len(get(max_xcom_bytes=None)) == 600_000
    assert len(get(do_xcom_push=False)) == 600_000


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "image/png"),
        (b"PK\x03\x04\xff", "application/zip"),
        (b"\xff\xfe\xfd", ""),
        (b"abc\x00", "application/octet-stream"),
    ],
)
def test_what_is_no_text_names_output_path(
    jobs: JobServer, tmp_path: Path, body: bytes, media_type: str
) -> None:
    jobs.on("GET", "/data", Answer(body=body, headers={"Content-Type": media_type}))
    error = failing()
    assert f"{len(body)} bytes that are neither JSON nor text" in error.message
    assert "output_path" in error.message
    assert not error.retryable
    assert get(response_filter=lambda response: len(response.content)) == len(body)
    get(output_path=str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == body


@pytest.mark.parametrize(
    ("body", "media_type", "value"),
    [
        (b"a;b\n1;2\n", "text/csv", "a;b\n1;2\n"),
        ("ä".encode("latin-1"), "text/csv; charset=latin-1", "ä"),
        ("ä".encode("latin-1"), "application/x-thing; charset=latin-1", "ä"),
        (b"a,b", "application/octet-stream", "a,b"),
        (b"a: 1", "application/yaml", "a: 1"),
    ],
)
def test_text_is_text(jobs: JobServer, body: bytes, media_type: str, value: str) -> None:
    jobs.on("GET", "/data", Answer(body=body, headers={"Content-Type": media_type}))
    assert get() == value


# -- what does not go together -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"output_path": 7}, "output_path"),
        ({"output_path": " "}, "output_path"),
        ({"output_path": "/x/y", "response_path": "$.a"}, "response_path"),
        ({"output_path": "/x/y", "job": {"result_path": "$.a"}}, "job.result_path"),
        ({"pagination": CURSOR, "response_path": "$.a"}, "response_path"),
        ({"pagination": CURSOR, "job": {"result_path": "$.a"}}, "job.result_path"),
        ({"output_format": "raw"}, "output_format"),
        ({"output_path": "/x/y", "output_format": "jsonl"}, "output_format"),
        ({"output_path": "/x/y", "output_format": "raw", "pagination": CURSOR}, "output_format"),
        ({"output_path": "/x/y", "output_format": "parquet"}, "output_format"),
        ({"output_path": "/x/y", "job": {}, "wait_for_completion": False}, "output_path"),
        ({"max_xcom_bytes": 0}, "max_xcom_bytes"),
        ({"pagination": {"cursor": "a"}}, "pagination.cursor_param"),
        ({"pagination": CURSOR, "response_handling": "ignore"}, "response_handling"),
        ({"pagination": CURSOR, "response_check": len}, "response_check"),
        ({"output_path": "/x/y", "response_filter": len}, "response_filter"),
        ({"output_path": "/x/y", "response_handling": "IGNORE"}, "response_handling"),
        ({"output_path": "/x/y", "response_validation": {"required_fields": ["a"]}}, "response_validation"),
        (
            {
                "output_path": "/x/y",
                "response_handling": "validate",
                "response_validation": {"required_fields": ["a"]},
                "pagination": CURSOR,
            },
            "response_handling",
        ),
        ({"pagination": 5}, "pagination"),
    ],
)
def test_refused_when_the_dag_is_parsed(given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call(**given)
    assert caught.value.data["parameter"] == parameter


def test_mapped_tasks_are_checked_too() -> None:
    with pytest.raises(ParameterError, match=r"pagination\.cursor_param"):
        ApiCallOperator.partial(task_id="t", endpoint="/x", pagination={"cursor": "a"}).expand(body=[1])
    made = ApiCallOperator.partial(
        task_id="t",
        endpoint="/x",
        pagination=Pagination(**CURSOR),
        output_format="jsonl",  # type: ignore[arg-type]
    ).expand(output_path=["/a", "/b"])
    assert made.partial_kwargs["pagination"] == CURSOR
