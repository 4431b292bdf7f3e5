"""A triggerer full of jobs of one connection: what they share is fetched once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.sdk import BaseHook

from airflow_provider_apitask.drivers import event_loop_connector
from benchmarks.waiting_jobs import CHECKS, MANY, SUCCEEDED, run_many, running


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record connection lookups; each takes as long as it does on a triggerer."""
    found: list[str] = []
    real = BaseHook.aget_connection

    async def counted(conn_id: str) -> Any:
        found.append(conn_id)
        await asyncio.sleep(0.04)
        return await real(conn_id)

    monkeypatch.setattr(BaseHook, "aget_connection", counted)
    return found


def test_one_lookup_and_one_token(lookups: list[str]) -> None:
    with running() as server:
        run = asyncio.run(run_many(server))
        stats = server.stats()
    assert run.outcomes == {SUCCEEDED}
    assert lookups == ["api"]
    assert stats.token_requests == [200]
    assert stats.checks == [200] * MANY * CHECKS
    # One of them went to the token endpoint.
    assert stats.connections <= event_loop_connector.MAX_CONNECTIONS_PER_HOST + 1


def test_token_that_expires_is_renewed_once(lookups: list[str]) -> None:
    with running(lifetime=2) as server:
        run = asyncio.run(run_many(server))
        stats = server.stats()
    assert run.outcomes == {SUCCEEDED}
    assert lookups == ["api"]
    assert stats.token_requests == [200, 200]
    assert len(stats.by_token) == 2
    assert all(stats.by_token)
    assert stats.checks.count(200) == MANY * CHECKS
    assert set(stats.checks) <= {200, 401}


def test_token_that_is_refused_is_renewed_once(lookups: list[str]) -> None:
    with running() as server:
        run = asyncio.run(run_many(server, revoke=True))
        stats = server.stats()
    assert run.outcomes == {SUCCEEDED}
    assert lookups == ["api"]
    assert stats.token_requests == [200, 200]
    assert stats.checks.count(200) == MANY * CHECKS
    assert 401 in stats.checks
