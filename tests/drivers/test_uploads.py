"""Bodies with files: multipart and raw, sent piece by piece, the same in each way."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from airflow_provider_apitask.core.auth import DigestAuth
from airflow_provider_apitask.core.messages import NetworkFailure, Response
from airflow_provider_apitask.core.request_body import encode_body
from airflow_provider_apitask.core.retry import RetryPolicy
from airflow_provider_apitask.core.uploads import with_files
from airflow_provider_apitask.drivers.transport import TransportOptions
from airflow_provider_apitask.drivers.upload import OpenUpload, open_local
from tests.drivers.contract import Seen, asynchronous, contract, make_api, sync
from tests.drivers.test_transports import both, request
from tests.support import Answer, Recorded

NAME = 'größe "1"; x.csv'
CONTENT = bytes(range(256)) * 40 + b"\r\n--"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / NAME
    found.write_bytes(CONTENT)
    return found


def in_memory(*args: Any, **kwargs: Any) -> BytesIO:
    """Where a parser puts a file; a temporary one would have to be closed."""
    return BytesIO()


def parsed(recorded: Recorded) -> tuple[list[tuple[str, str]], list[tuple[str, str, str, bytes]]]:
    """Fields and files of a multipart body, as a web framework reads them."""
    environ = {
        "REQUEST_METHOD": recorded.method,
        "CONTENT_TYPE": recorded.header("Content-Type"),
        "CONTENT_LENGTH": recorded.header("Content-Length"),
        "wsgi.input": BytesIO(recorded.body),
    }
    _, fields, files = parse_form_data(environ, stream_factory=in_memory, silent=False)
    return list(fields.items(multi=True)), [
        (name, one.filename, one.content_type, one.read()) for name, one in files.items(multi=True)
    ]


def sent(*answers: Answer, body_format: str = "multipart", body: Any, **kwargs: Any) -> Seen:
    seen = contract(
        lambda s: s.on("POST", "/a", *(answers or (Answer(json=1),))),
        sync("POST", body=body, body_format=body_format, **kwargs),
    )
    for recorded in seen.server.history:
        assert recorded.headers_all("Content-Length") == [str(len(recorded.body))]
        assert recorded.headers_all("Transfer-Encoding") == []
        assert len(recorded.headers_all("Content-Type")) <= 1
    return seen


def test_multipart(file: Path) -> None:
    body = {
        "text": "é",
        "n": [1, True, None, "x"],
        "empty": "",
        "none": None,
        "schlüssel": {"content": {"a": [1.5]}},
        "workflow_params": {"seconds": 1},
        "file": {"path": str(file)},
        "more": [{"path": file}, {"path": str(file), "filename": "名.bin", "content_type": "text/csv"}],
        "memory": {"content": b"\x00\xff", "filename": "m"},
    }
    seen = sent(body=body)
    fields, files = parsed(seen.server.history[0])
    assert fields == [
        *(("text", "é"), ("n", "1"), ("n", "true"), ("n", "x"), ("empty", ""), ("schlüssel", '{"a":[1.5]}')),
        ("workflow_params", '{"seconds":1}'),
    ]
    assert files == [
        ("file", NAME, "application/octet-stream", CONTENT),
        ("more", NAME, "application/octet-stream", CONTENT),
        ("more", "名.bin", "text/csv", CONTENT),
        ("memory", "m", None, b"\x00\xff"),
    ]


def test_the_boundary_is_another_one_each_time(file: Path) -> None:
    body = {"f": {"path": str(file)}}
    texts = {str(sent(body=body).server.history[0].header("Content-Type")) for _ in range(2)}
    assert len(texts) == 2
    assert all(text.startswith("multipart/form-data; boundary=") for text in texts)
    (recorded,) = sent(
        body=body, headers={"Content-Type": "multipart/mixed; boundary=mine; charset=x"}
    ).server.history
    kind, _, boundary = str(recorded.header("Content-Type")).partition("; boundary=")
    assert kind == "multipart/mixed; charset=x"
    assert recorded.body.startswith(f"--{boundary}\r\n".encode())


@pytest.mark.parametrize(
    ("content_type", "headers", "expected"),
    [(None, None, None), ("text/csv", None, "text/csv"), ("text/csv", {"Content-Type": "a/b"}, "a/b")],
)
def test_a_raw_body_from_a_file(file: Path, content_type: Any, headers: Any, expected: Any) -> None:
    body = {"path": str(file), "content_type": content_type}
    (recorded,) = sent(body=body, body_format="raw", headers=headers).server.history
    assert (recorded.body, recorded.header("Content-Type")) == (CONTENT, expected)


def test_an_empty_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert sent(body={"path": str(empty)}, body_format="raw").server.history[0].body == b""
    _, files = parsed(sent(body={"f": {"path": str(empty)}}).server.history[0])
    assert files == [("f", "empty", "application/octet-stream", b"")]


def test_it_is_sent_again_whole(file: Path) -> None:
    """After a 503, and where a 307 leads to."""
    seen = sent(
        Answer(503), Answer(307, headers={"Location": "/b"}), body={"f": {"path": str(file)}},
        retry=RetryPolicy(count=1),
    )  # fmt: skip
    assert seen.failed[0] == "request_failed"  # nothing is at /b
    assert seen.targets == ["POST /a", "POST /a", "POST /b"]
    assert [parsed(recorded)[1][0][3] for recorded in seen.server.history] == [CONTENT] * 3


def test_it_is_sent_again_with_an_answer_to_a_challenge(file: Path) -> None:
    challenge = Answer(401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n"'})
    seen = contract(
        lambda s: s.on("POST", "/a", challenge, Answer(json=1)),
        sync("POST", body={"path": str(file)}, body_format="raw"),
        api=lambda s: make_api(s.url, DigestAuth("u", "p")),
    )
    assert seen.value == 1
    assert [recorded.body for recorded in seen.server.history] == [CONTENT] * 2


def test_a_file_within_the_request_for_the_result(file: Path) -> None:
    """On the triggerer too; what a server answers never names a file."""
    seen = contract(
        lambda s: (
            s.on("POST", "/jobs", Answer(202, {"id": "j", "spec": {"path": str(file)}})),
            s.on("POST", "/status", Answer(json={"status": "running"}), Answer(json={"status": "done"})),
            s.on("POST", "/result", Answer(json=5)),
        ),
        asynchronous(
            status_request={
                "method": "POST", "endpoint": "/status", "body_format": "multipart",
                "body": {"job": "{id}", "proof": {"path": str(file)}},
            },
            result_request={"method": "POST", "endpoint": "/result", "body_format": "raw",
                            "body": {"path": str(file)}},
        ),
    )  # fmt: skip
    assert seen.value == 5
    for recorded in seen.server.requests("POST", "/status"):
        assert parsed(recorded) == ([("job", "j")], [("proof", NAME, "application/octet-stream", CONTENT)])
    assert seen.server.requests("POST", "/result")[0].body == CONTENT


@pytest.mark.parametrize(("body_format", "body"), [("multipart", {"f": "{spec}"}), ("raw", "{spec}")])
def test_what_a_server_answers_names_no_file(file: Path, body_format: str, body: Any) -> None:
    seen = contract(
        lambda s: (
            s.on("POST", "/jobs", Answer(202, {"id": "j", "spec": {"path": str(file)}})),
            s.on("GET", "/jobs/j", Answer(json={"status": "done"})),
        ),
        asynchronous(
            status_request="/jobs/{id}",
            result_request={"method": "POST", "endpoint": "/r", "body_format": body_format, "body": body},
        ),
    )
    assert seen.failed[0] == "parameter"
    assert seen.targets == ["POST /jobs", "GET /jobs/j"]


@pytest.mark.parametrize(
    ("path", "why"), [("missing", "No such file or directory"), ("", "it is no regular file")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str, why: str) -> None:
    found = tmp_path / path
    seen = sent(body={"f": {"path": str(found)}})
    assert seen.failed[0] == "request_failed"
    assert (
        f"POST http://HOST/a was not sent whole: its body could not be read ({found}: {why})"
        in seen.failed[1]
    )
    assert seen.targets == []


class Shrinking(BytesIO):
    """A file that is cut while it is read."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size) if self.tell() == 0 else b""


def _fails(path: Any) -> BinaryIO:
    raise LookupError("no connection of this name")


@pytest.mark.parametrize(
    ("opener", "why", "arrived"),
    [
        (lambda path: Shrinking(b"x" * 5_000_000), "/f: it has become shorter while it was sent", True),
        (_fails, "/f: no connection of this name", False),
    ],
)
def test_a_storage_that_fails(opener: Callable[[Any], BinaryIO], why: str, arrived: bool) -> None:
    for method in ("PUT", "POST"):
        seen = contract(
            lambda s: None,
            sync(method, body={"path": "/f"}, body_format="raw"),
            options=lambda s: TransportOptions(open_file=opener),
        )
        # A server that has got the half of it might have begun with something.
        assert seen.failed[0] == ("submit_unknown" if arrived and method == "POST" else "request_failed")
        assert f"its body could not be read ({why})" in seen.failed[1]


class Sink:
    """A server that counts what it gets, and keeps nothing of it."""

    def __enter__(self) -> Sink:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.digest = hashlib.sha256()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            head, _, body = head.partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].split()[0])
            buffer = memoryview(bytearray(65536))
            while True:
                self.digest.update(body)
                left -= len(body)
                if not left:
                    break
                body = bytes(buffer[: connection.recv_into(buffer)])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@both
def test_memory_stays_small(send: Any, tmp_path: Path) -> None:
    size, digest = 200_000_000, hashlib.sha256()
    large = tmp_path / "large"
    piece = bytes(range(250)) * 4000
    with large.open("wb") as out:
        for _ in range(size // len(piece)):
            out.write(piece)
            digest.update(piece)
    body, _ = encode_body(with_files({"path": str(large)}, "raw"), "raw")
    with Sink() as sink:
        made = request(f"{sink.url}/a", "PUT", body=body, timeout=(5.0, 60.0))
        tracemalloc.start()
        try:
            (came,) = send(made)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(came, Response), came
    assert sink.digest.hexdigest() == digest.hexdigest()
    assert peak < 12_000_000


def test_the_event_loop_goes_round_while_a_file_is_read(tmp_path: Path) -> None:
    from airflow_provider_apitask.drivers.event_loop import EventLoopTransport

    threads: set[threading.Thread] = set()

    class Noting(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.current_thread())
            return super().read(size)

    def noting(path: Any) -> BinaryIO:
        threads.add(threading.current_thread())
        return Noting(b"x" * 600_000)

    async def main(url: str) -> Any:
        body, _ = encode_body(with_files({"path": "/f"}, "raw"), "raw")
        async with EventLoopTransport(make_api(url), TransportOptions(open_file=noting)) as transport:
            return await transport.send(request(f"{url}/a", "PUT", body=body))

    with Sink() as sink:
        came = asyncio.run(main(sink.url))
    assert isinstance(came, Response), came
    assert threads
    assert threading.current_thread() not in threads


@both
def test_an_upload_may_take_longer_than_an_answer(send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_apitask.drivers import wire

    monkeypatch.setattr(wire, "READ_PERIODS", 0)
    monkeypatch.setattr(wire, "SLOWEST_UPLOAD", 100_000)

    class Slow(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            time.sleep(0.01)
            return super().read(min(size or 0, 10_000))

    body, _ = encode_body(with_files({"path": "/f"}, "raw"), "raw")
    options = TransportOptions(open_file=lambda path: Slow(b"x" * 300_000))
    with Sink() as sink:
        (came,) = send(request(f"{sink.url}/a", "PUT", body=body, timeout=(0.1, 5.0)), options=options)
    assert isinstance(came, Response), came


def test_no_file_stays_open(file: Path) -> None:
    opened: list[BinaryIO] = []

    def opener(path: Any) -> BinaryIO:
        opened.append(open_local(path))
        return opened[-1]

    contract(
        lambda s: s.on("POST", "/a", Answer(json=1)),
        sync("POST", body={"a": {"path": str(file)}, "b": {"path": str(file)}}, body_format="multipart"),
        options=lambda s: TransportOptions(open_file=opener),
    )
    broken = contract(
        lambda s: None,
        sync("POST", body={"a": {"path": str(file)}, "b": {"path": "/no/such"}}, body_format="multipart"),
        options=lambda s: TransportOptions(open_file=opener),
    )
    assert broken.failed[0] == "request_failed"
    assert len(opened) >= 9
    assert all(stream.closed for stream in opened)


#: Names that a parser takes as they are; of a backslash each makes something else.
_NAMES = st.from_regex(r"[\w.\-\[\]\"]{1,6}", fullmatch=True)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(_NAMES, st.lists(st.binary(max_size=50) | _TEXT, min_size=1, max_size=2), max_size=4),
    st.integers(1, 7),
)
def test_a_multipart_body_comes_back(fields: dict[str, Any], size: int) -> None:
    given_parts = {
        name: [{"content": value, "filename": "f"} if isinstance(value, bytes) else value for value in values]
        for name, values in fields.items()
    }
    upload, content_type = encode_body(with_files(given_parts, "multipart"), "multipart")
    assert upload is not None
    assert not isinstance(upload, bytes)
    with OpenUpload(upload, open_local) as opened:
        first = b"".join(iter(lambda: opened.read(size), b""))
        assert opened.tell() == opened.size == len(first)
        opened.seek(0)
        assert b"".join(iter(opened.read, b"")) == first
        header = f"{content_type}; boundary={opened.boundary}"
    environ = {
        "REQUEST_METHOD": "POST", "CONTENT_TYPE": header, "CONTENT_LENGTH": str(len(first)),
        "wsgi.input": BytesIO(first),
    }  # fmt: skip
    _, texts, files = parse_form_data(environ, stream_factory=in_memory, silent=False)

    for name, values in fields.items():
        assert texts.getlist(name) == [value for value in values if isinstance(value, str)]
        assert [one.read() for one in files.getlist(name)] == [
            value for value in values if isinstance(value, bytes)
        ]


def test_a_failure_is_told_before_anything_is_sent() -> None:
    body, _ = encode_body(with_files({"path": "/no/such/file"}, "raw"), "raw")
    from tests.drivers.test_transports import send_blocking, send_on_loop

    for send in (send_blocking, send_on_loop):
        (came,) = send(request("http://127.0.0.1:9/", "PUT", body=body))
        assert isinstance(came, NetworkFailure)
        assert not came.possibly_received
