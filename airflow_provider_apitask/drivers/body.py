"""Reading the body of an answer: bounded, and decoded from its content coding as it comes.

The libraries decode too, each in its own way and with the whole result in memory before it can be measured.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

from airflow_provider_apitask.core.messages import Failure, Headers, Request
from airflow_provider_apitask.drivers.wire import UnusableError

__all__ = ["Body", "Sink"]

_GZIP_MAGIC = 0x1F
_ZLIB_METHOD = 8
#: What is decoded at a time for a sink, bytes: a piece of 64 KiB can hold 64 MiB.
_PIECE = 1024 * 1024
#: So much of what goes to a sink is kept as well: enough to see what it is.
_BEGINNING = 1024


class Sink(Protocol):
    """Takes the content of an answer as it comes.

    :param limit: bytes that it takes at most; None for any number.
    """

    limit: int | None

    def write(self, data: bytes) -> object:
        """Take the next piece."""


class Body:
    """Collects the body of one answer, or hands it to a sink.

    What counts against the request's limit is the content after decoding: a small body can decode to a
    huge one.

    :param sink: takes the content; its own limit holds then.
    :raises UnusableError: where the body is announced as too large.
    """

    def __init__(self, request: Request, status: int, headers: Headers, sink: Sink | None = None) -> None:
        self._sink = sink
        limit = self._limit = request.max_bytes if sink is None else sink.limit or sys.maxsize
        self._coding = ", ".join(_codings(headers))
        self._pieces: list[bytes] = []
        self._room = limit
        self._inflater: zlib._Decompress | None = None
        # RFC 9110 §8.6: these tell the length of a body that they do not have.
        has_body = request.method != "HEAD" and status not in (204, 304)
        announced = None if self._coding else headers.get("Content-Length")
        if has_body and int(announced or 0) > limit:
            raise self._too_large()
        #: Length of the content at most, bytes.
        self.most = limit if announced is None else min(int(announced), limit)

    @property
    def size(self) -> int:
        """Length of the content so far, bytes."""
        return self._limit - self._room

    def feed(self, data: bytes) -> None:
        """Take the next piece as it came over the wire.

        :raises UnusableError: where the content is too large, or not coded as its headers say.
        """
        if not self._coding:
            self._add(data)
        else:
            self._inflate(data)

    def finish(self) -> bytes:
        """The whole content; its beginning where a sink has it.

        :raises UnusableError: where its coding breaks off.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise self._miscoded()
        return b"".join(self._pieces)

    def _inflate(self, data: bytes) -> None:
        while data:
            if self._inflater is None:
                self._inflater = self._new_inflater(data)
            elif self._inflater.eof:
                if self._coding == "deflate" or data[0] != _GZIP_MAGIC:
                    return  # padding after the end, which everybody ignores
                self._inflater = self._new_inflater(data)  # RFC 1952 §2.2: members follow each other
            try:
                # One byte more than there is room for tells that it is too much, and no more is decoded.
                most = self._room + 1 if self._sink is None else min(self._room + 1, _PIECE)
                piece = self._inflater.decompress(data, most)
                self._add(piece)
                while len(piece) == most and not self._inflater.unconsumed_tail:
                    # All that came is taken, and may not be decoded whole.
                    piece = self._inflater.decompress(b"", most)
                    self._add(piece)
            except zlib.error:
                raise self._miscoded() from None
            data = self._inflater.unconsumed_tail or self._inflater.unused_data

    def _new_inflater(self, start: bytes) -> zlib._Decompress:
        if self._coding in ("gzip", "x-gzip"):
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        if self._coding == "deflate":
            # RFC 9110 §8.4.1.2: zlib's format by name, bare deflate by widespread mistake.
            wrapped = start[0] & 0x0F == _ZLIB_METHOD
            return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        raise UnusableError(Failure.INVALID, f"its content coding {self._coding!r} was not asked for")

    def _add(self, piece: bytes) -> None:
        before = self.size
        self._room -= len(piece)
        if self._room < 0:
            raise self._too_large()
        if self._sink is not None:
            self._sink.write(piece)
            piece = piece[: max(0, _BEGINNING - before)]
        if piece:
            self._pieces.append(piece)

    def _too_large(self) -> UnusableError:
        self._pieces.clear()
        return UnusableError(Failure.TOO_LARGE, f"over {self._limit} bytes")

    def _miscoded(self) -> UnusableError:
        return UnusableError(Failure.INVALID, f"its body is not valid {self._coding}")


def _codings(headers: Headers) -> list[str]:
    listed = ",".join(headers.get_all("Content-Encoding")).lower().split(",")
    return [coding for item in listed if (coding := item.strip()) not in ("", "identity")]
