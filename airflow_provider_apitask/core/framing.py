"""Where an HTTP/1.1 response begins and ends, read strictly (RFC 9112) and once for both drivers.

HTTP libraries disagree about malformed messages, and what one of them takes for the end of a body is the
start of the next job's response for another. Neither library reads a response here: each driver feeds the
bytes of its connection to :class:`ResponseFraming` and takes status, header and content from it.

Refused, because the length of the body would be a guess: more than one Content-Length, Content-Length with
Transfer-Encoding, any transfer coding but ``chunked``, and chunk sizes that are not plain hexadecimal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_apitask.core.messages import Failure, Headers

__all__ = ["MALFORMED", "FramingError", "ResponseFraming", "ResponseHead"]

#: Header fields of a response, and bytes of a line.
MAX_FIELDS = 99
MAX_LINE_BYTES = 64 * 1024

MALFORMED = "malformed, or its header is too long"

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([^\0\r\n]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\0\r\n]*)")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_CHUNK_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*|(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[^"\\\0\r\n]*"))?)+)\r\n'
)
_LENGTH = re.compile(r"[0-9]{1,18}")
#: Fields that frame a message: in a trailer they would contradict the header (RFC 9112 §6.5.1).
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({204, 304})


class FramingError(Exception):
    """The bytes are not one HTTP/1.1 response, or more than the caller takes.

    :param failure: ``INVALID`` or ``TOO_LARGE``.
    """

    def __init__(self, failure: Failure = Failure.INVALID, detail: str = MALFORMED) -> None:
        super().__init__(detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and header of a response."""

    status: int
    reason: str
    headers: Headers = field(repr=False)


class ResponseFraming:
    """One response on its way in: takes bytes, returns content.

    :param method: of the request.
    """

    def __init__(self, method: str) -> None:
        #: Whether any byte has come.
        self.begun = False
        self.head: ResponseHead | None = None
        #: Whether the response is complete.
        self.done = False
        #: Whether the connection cannot carry another response.
        self.closes = False
        #: Why the bytes cannot be used; set once.
        self.error: FramingError | None = None
        self._method = method
        self._read: Callable[[list[bytes]], bool] = self._read_status_line
        self._buffer = b""
        self._at = 0
        #: Bytes since the header: of everything, and of the content.
        self._raw = self._content = 0
        self._max_bytes = sys.maxsize
        #: Bytes of the body or of the chunk that are still to come.
        self._left = 0
        self._until_eof = False
        self._status = (0, "")
        self._version = b"1"
        self._fields: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the connection and return the content in them.

        :raises FramingError: if the bytes are not valid, or too many.
        """
        if self.error is not None:
            raise self.error
        self.begun = True
        self._buffer, self._at = self._buffer[self._at :] + data, 0
        pieces: list[bytes] = []
        try:
            while not self.done and self._read(pieces):
                pass
            if self.head is not None:
                self._raw += len(data)
                self._content += sum(map(len, pieces))
                self._check_size()
        except FramingError as error:
            self.error, self.closes = error, True
            raise
        if self.done and self._at < len(self._buffer):
            self.closes = True  # bytes after the end would be taken for the next response
        return pieces

    def feed_eof(self) -> bool:
        """Take the end of the connection and return whether the response is complete."""
        self.closes = True
        self.done = self.done or (self._until_eof and self.error is None)
        return self.done

    def limit(self, max_bytes: int) -> None:
        """Set how many bytes of content may come; the framing of chunks may take as many again.

        :raises FramingError: if more have come already.
        """
        self._max_bytes = max_bytes
        self._check_size()

    def _check_size(self) -> None:
        if self._content > self._max_bytes or self._raw > 2 * self._max_bytes + MAX_LINE_BYTES:
            self.error = FramingError(Failure.TOO_LARGE, f"over {self._max_bytes} bytes")
            raise self.error

    def _line(self) -> bytes | None:
        """Return the next line without its end, or None while it is incomplete."""
        end = self._buffer.find(b"\n", self._at)
        if (end if end >= 0 else len(self._buffer)) - self._at > MAX_LINE_BYTES:
            raise FramingError
        if end < 0:
            return None
        line, self._at = self._buffer[self._at : end], end + 1
        return line.removesuffix(b"\r")

    def _read_status_line(self, pieces: list[bytes]) -> bool:
        line = self._line()
        if line is None:
            if not self._buffer[self._at :].startswith(b"HTTP/1."[: len(self._buffer) - self._at]):
                raise FramingError  # another protocol may never send a line end
            return False
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise FramingError
        self._version, status, reason = found.groups(b"")
        self._status = int(status), reason.decode("latin-1")
        self._fields = []
        self._read = self._read_field
        return True

    def _read_field(self, pieces: list[bytes]) -> bool:
        line = self._line()
        if line is None:
            return False
        if line:
            self._add_field(line)
        elif self._status[0] == 101:
            raise FramingError  # no request asks for another protocol
        elif self._status[0] < 200:
            self._read = self._read_status_line  # RFC 9110 §15.2: the real response follows
        else:
            self._end_head()
        return True

    def _add_field(self, line: bytes) -> None:
        if line[0] in b" \t" and self._fields:  # RFC 9112 §5.2: a folded value
            name, value = self._fields[-1]
            if name.lower() in _FRAMING_FIELDS or len(value) + len(line) > MAX_LINE_BYTES:
                raise FramingError
            if b"\0" in line or b"\r" in line:
                raise FramingError
            self._fields[-1] = name, value + b" " + line.strip(b" \t")
            return
        found = _FIELD.fullmatch(line)
        if found is None or len(self._fields) >= MAX_FIELDS:
            raise FramingError
        self._fields.append((found[1], found[2].strip(b" \t")))

    def _end_head(self) -> None:
        headers = Headers([(name.decode(), _text(value)) for name, value in self._fields])
        lengths = headers.get_all("Content-Length")
        codings = headers.get_all("Transfer-Encoding")
        self._check_length(lengths, codings)
        connection = ",".join(headers.get_all("Connection")).lower()
        options = {option.strip() for option in connection.split(",")}
        self.closes = "close" in options or (self._version == b"0" and "keep-alive" not in options)
        status, reason = self._status
        self.head = ResponseHead(status, reason, headers)
        if self._method == "HEAD" or status in _WITHOUT_BODY:
            self.done = True
        elif codings:
            self._read = self._read_chunk_size
        elif lengths:
            self._left = int(lengths[0])
            self.done, self._read = not self._left, self._read_body
        else:
            self._until_eof = self.closes = True
            self._read = self._read_rest

    def _check_length(self, lengths: list[str], codings: list[str]) -> None:
        if len(lengths) + len(codings) > 1:
            raise FramingError
        if lengths and not _LENGTH.fullmatch(lengths[0]):
            raise FramingError
        if codings and (codings[0].lower() != "chunked" or self._version == b"0"):
            raise FramingError

    def _read_rest(self, pieces: list[bytes]) -> bool:
        if self._at < len(self._buffer):
            pieces.append(self._buffer[self._at :])
            self._at = len(self._buffer)
        return False

    def _read_body(self, pieces: list[bytes]) -> bool:
        self._take(pieces)
        self.done = not self._left
        return False

    def _take(self, pieces: list[bytes]) -> None:
        piece = self._buffer[self._at : self._at + self._left]
        if piece:
            pieces.append(piece)
            self._at += len(piece)
            self._left -= len(piece)

    def _read_chunk_size(self, pieces: list[bytes]) -> bool:
        buffer, size = self._buffer, 0
        # Chunks that are here whole, in a loop without calls: a hostile body has one for each byte.
        while found := _CHUNK_SIZE.match(buffer, self._at):
            start, size = found.end(), int(found[1], 16)
            end = start + size
            if not size or buffer[end : end + 2] != b"\r\n":
                self._at = start
                break
            pieces.append(buffer[start:end])
            self._at = end + 2
        else:
            if self._line() is not None:
                raise FramingError
            return False
        self._left, self._fields = size, []
        self._read = self._read_chunk if size else self._read_trailer
        return True

    def _read_chunk(self, pieces: list[bytes]) -> bool:
        if self._left:
            self._take(pieces)
        if self._left or len(self._buffer) - self._at < 2:
            return False
        if not self._buffer.startswith(b"\r\n", self._at):
            raise FramingError
        self._at += 2
        self._read = self._read_chunk_size
        return True

    def _read_trailer(self, pieces: list[bytes]) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self.done = True
            return False
        self._add_field(line)
        if self._fields[-1][0].lower() in _FRAMING_FIELDS:
            raise FramingError
        return True


def _text(value: bytes) -> str:
    """Return a field value as UTF-8 if it is valid, else as Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
