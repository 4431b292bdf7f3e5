"""A large answer goes to a file in constant memory: the benchmark, small."""

from __future__ import annotations

import sys

import pytest

from benchmarks import download

pytestmark = pytest.mark.once


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "ApiCallOperator"
    monkeypatch.setattr(download, "CANDIDATES", {ours: download.CANDIDATES[ours]})
    (cost,) = download.measure(runs=1, size=100 * download.MEBIBYTE)
    assert cost.mebibytes[0] < 10
