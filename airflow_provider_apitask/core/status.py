"""What a status word means. Words match whole, never as part of another (PROTOCOL rule 12)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from airflow_provider_apitask.core.checks import shown
from airflow_provider_apitask.core.errors import ParameterError

__all__ = ["DEFAULT_WORDS", "StatusWords", "Verdict", "fold", "is_blank"]


class Verdict(StrEnum):
    """What a status says about the job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    LOST = "lost"
    UNKNOWN = "unknown"


#: Words that mean the same on every server seen. What means success here and failure there
#: (``done: true`` with an error beside it, ``partial``, ``skipped``) is left to the author.
DEFAULT_WORDS: dict[Verdict, tuple[str, ...]] = {
    Verdict.SUCCEEDED: ("success", "succeeded", "successful", "complete", "completed", "done", "finished"),
    Verdict.FAILED: (
        *("failed", "failure", "fail", "error", "errored", "crashed", "fatal", "faulted", "rejected"),
        *("expired", "timeout", "timedout", "aborted", "executorerror", "systemerror"),
    ),
    Verdict.CANCELLED: (
        "cancelled",
        "canceled",
        "dismissed",
        "stopped",
        "terminated",
        "killed",
        "revoked",
        "deleted",
    ),
    Verdict.RUNNING: (
        *("running", "inprogress", "processing", "executing", "started", "starting", "active", "working"),
        *(
            "pending",
            "queued",
            "accepted",
            "submitted",
            "scheduled",
            "waiting",
            "created",
            "new",
            "notstarted",
        ),
        *("initializing", "preparing", "provisioning", "received", "retrying", "completing", "finalizing"),
        *("cancelling", "canceling", "stopping", "terminating", "paused", "suspended"),
    ),
}


#: Where the author names the words of an outcome.
_FIELDS = {
    Verdict.SUCCEEDED: "success_values",
    Verdict.FAILED: "failure_values",
    Verdict.CANCELLED: "cancelled_values",
    Verdict.RUNNING: "running_values",
}


#: A larger number is no status; that of a Decimal could have any number of digits.
_COUNTABLE = 10**400


def fold(value: Any) -> str:
    """Fold case and drop ``_``, ``-`` and spaces; booleans and numbers by their JSON text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)) and -_COUNTABLE < value < _COUNTABLE and value == int(value):
        value = int(value)
    return str(value).casefold().translate({ord("_"): None, ord("-"): None, ord(" "): None})


def is_blank(status: Any) -> bool:
    """Whether a status is null or an empty text."""
    return status is None or (isinstance(status, str) and not status.strip())


@dataclass(frozen=True, slots=True)
class StatusWords:
    """The words of one API, folded, each with what it means."""

    verdicts: dict[str, Verdict]
    unknown: Verdict = Verdict.UNKNOWN

    @classmethod
    def build(
        cls,
        *,
        success: Iterable[Any] = DEFAULT_WORDS[Verdict.SUCCEEDED],
        failure: Iterable[Any] = DEFAULT_WORDS[Verdict.FAILED],
        cancelled: Iterable[Any] = DEFAULT_WORDS[Verdict.CANCELLED],
        running: Iterable[Any] = DEFAULT_WORDS[Verdict.RUNNING],
        unknown_is_running: bool = False,
    ) -> Self:
        """Take the author's words, and the common ones for each outcome that the author did not change.

        A common word yields to the same word in a list of the author's.

        :raises ParameterError: where a word stands in two of the author's lists.
        """
        given = {
            Verdict.SUCCEEDED: success,
            Verdict.FAILED: failure,
            Verdict.CANCELLED: cancelled,
            Verdict.RUNNING: running,
        }
        verdicts: dict[str, Verdict] = {}
        own = {verdict: words for verdict, words in given.items() if words is not DEFAULT_WORDS[verdict]}
        for verdict, words in own.items():
            for word in words:
                other = verdicts.setdefault(fold(word), verdict)
                if other is not verdict:
                    one, two = _FIELDS[other], _FIELDS[verdict]
                    raise ParameterError(
                        f"job.{two}: the status {shown(word)} is in job.{one} too; it can mean one thing "
                        "only.",
                        parameter=f"job.{two}",
                    )
        for verdict in given.keys() - own.keys():
            for word in DEFAULT_WORDS[verdict]:
                verdicts.setdefault(word, verdict)
        return cls(verdicts, Verdict.RUNNING if unknown_is_running else Verdict.UNKNOWN)

    def verdict(self, status: Any) -> Verdict:
        """What a status means; null or blank is a job that has not said anything yet (rule 12)."""
        if is_blank(status):
            return Verdict.RUNNING
        if isinstance(status, (dict, list)):
            return self.unknown
        return self.verdicts.get(fold(status), self.unknown)

    def knows(self, status: Any) -> bool:
        """Whether a value is one of the words."""
        return not isinstance(status, (dict, list)) and fold(status) in self.verdicts
