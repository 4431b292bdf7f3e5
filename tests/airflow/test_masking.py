"""Airflow's own masker knows the tokens that are got at run time, on a triggerer the newest alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import airflow.sdk.log
import pytest
from airflow.sdk._shared.secrets_masker import _secrets_masker, redact

from airflow_provider_apitask.hooks import masking
from airflow_provider_apitask.hooks.masking import mask_on_triggerer, mask_on_worker


@pytest.fixture(autouse=True)
def masker(monkeypatch: pytest.MonkeyPatch) -> Any:
    masker = _secrets_masker()
    monkeypatch.setattr(masker, "patterns", set())
    monkeypatch.setattr(masker, "replacer", None)
    monkeypatch.setattr(masking, "_told", {})
    masking._masker.cache_clear()
    return masker


def on_triggerer(*secrets: str) -> None:
    async def learn() -> None:
        for secret in secrets:
            mask_on_triggerer(secret)
            await asyncio.gather(*masking._telling)

    asyncio.run(learn())


def test_on_a_worker() -> None:
    mask_on_worker("token-of-a-worker")
    assert redact("a token-of-a-worker b") == "a *** b"


def test_on_a_triggerer() -> None:
    on_triggerer("token-of-a-triggerer")
    assert redact("a token-of-a-triggerer b") == "a *** b"


def test_this_airflow_has_the_private_attributes_that_are_edited(masker: Any) -> None:
    assert masking._masker() is masker


@pytest.mark.skipif(not hasattr(airflow.sdk.log, "amask_secret"), reason="this Airflow masks in one process")
@pytest.mark.parametrize("changed", [object(), SimpleNamespace(patterns=[], replacer=None), None])
def test_an_airflow_without_them_masks_all_the_same_and_warns_once(
    changed: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = "airflow.sdk._shared.secrets_masker"
    with monkeypatch.context() as patch:
        if changed is None:
            patch.delattr(f"{package}._secrets_masker")
        else:
            patch.setattr(f"{package}._secrets_masker", lambda: changed)
        on_triggerer(*(f"token-{number:04d}" for number in range(150)))
    masking._masker.cache_clear()
    assert _secrets_masker().redact("token-0000 token-0149") == "*** ***"
    assert caplog.text.count("another secrets masker") == 1
    assert len(masking._told) <= 100


def test_a_triggerer_forgets_the_oldest(masker: Any) -> None:
    masker.add_mask("of-the-connection")
    on_triggerer("of-the-connection")
    on_triggerer(*(secret for number in range(250) for secret in (f"token-{number:04d}", "refresh-token")))
    said = redact("of-the-connection refresh-token token-0249 token-0151 token-0150 token-0001")
    assert said == "*** *** *** *** token-0150 token-0001"
    assert len(masker.patterns) == 101
    assert len(masking._told) == 100
