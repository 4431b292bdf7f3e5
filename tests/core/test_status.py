"""Rule 12: words match whole, after folding."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.status import DEFAULT_WORDS, StatusWords, Verdict, fold


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ("In_Progress", "inprogress"),
        ("in-progress", "inprogress"),
        ("IN PROGRESS", "inprogress"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        (0, "0"),
        ("done?", "done?"),
    ],
)
def test_fold(value: Any, folded: str) -> None:
    assert fold(value) == folded


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("SUCCEEDED", Verdict.SUCCEEDED),
        ("successful", Verdict.SUCCEEDED),
        ("Complete", Verdict.SUCCEEDED),
        ("failed", Verdict.FAILED),
        ("SYSTEM_ERROR", Verdict.FAILED),
        ("Canceled", Verdict.CANCELLED),
        ("dismissed", Verdict.CANCELLED),
        ("NotStarted", Verdict.RUNNING),
        ("COMPLETING", Verdict.RUNNING),
        ("accepted", Verdict.RUNNING),
        (None, Verdict.RUNNING),
        ("  ", Verdict.RUNNING),
        ("PartiallySucceeded", Verdict.UNKNOWN),
        ("unsuccessful", Verdict.UNKNOWN),
        ("not failed", Verdict.UNKNOWN),
        (True, Verdict.UNKNOWN),
        (0, Verdict.UNKNOWN),
        ({"a": 1}, Verdict.UNKNOWN),
        (["succeeded"], Verdict.UNKNOWN),
    ],
)
def test_common_words(word: Any, verdict: Verdict) -> None:
    assert StatusWords.build().verdict(word) is verdict


def test_no_common_word_stands_twice_and_all_are_folded() -> None:
    words = [word for words in DEFAULT_WORDS.values() for word in words]
    assert len(words) == len(set(words))
    assert all(fold(word) == word for word in words)


def test_given_words_replace_those_of_their_outcome() -> None:
    words = StatusWords.build(success=["OK", 0], running=[False])
    assert words.verdict("ok") is Verdict.SUCCEEDED
    assert words.verdict(0) is Verdict.SUCCEEDED
    assert words.verdict(False) is Verdict.RUNNING
    assert words.verdict("succeeded") is Verdict.UNKNOWN
    assert words.verdict("failed") is Verdict.FAILED


def test_a_given_word_goes_before_a_common_one() -> None:
    assert StatusWords.build(success=["stopped"]).verdict("Stopped") is Verdict.SUCCEEDED


def test_an_empty_list_takes_an_outcome_away() -> None:
    assert StatusWords.build(cancelled=[]).verdict("cancelled") is Verdict.UNKNOWN


def test_one_word_cannot_mean_two_things() -> None:
    with pytest.raises(ParameterError) as caught:
        StatusWords.build(success=["Done"], failure=["d-o-n-e"])
    assert caught.value.data["parameter"] == "job.failure_values"
    assert "job.success_values" in caught.value.message


def test_unknown_as_running() -> None:
    words = StatusWords.build(unknown_is_running=True)
    assert words.verdict("odd") is Verdict.RUNNING
    assert words.verdict({"a": 1}) is Verdict.RUNNING
