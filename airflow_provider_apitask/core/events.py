"""What happened, for the log of the task: one event per change, none per quiet poll."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_provider_apitask.core.redaction import Redactor

__all__ = ["Event", "EventKind"]


class EventKind(StrEnum):
    """Kinds of events."""

    ANSWERED = "answered"
    SUBMITTED = "submitted"
    RETRYING = "retrying"
    STATUS = "status"
    FAILING = "failing"
    RECOVERED = "recovered"
    RECONCILING = "reconciling"
    REATTACHED = "reattached"
    CANCELLING = "cancelling"
    CALLED_BACK = "called_back"
    JOB_DONE = "job_done"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line in the log.

    :param message: one or two sentences, redacted before a driver sees them.
    :param data: JSON values behind them, redacted too.
    """

    kind: EventKind
    message: str
    data: dict[str, Any] = field(default_factory=dict)

    def redacted(self, redactor: Redactor) -> Event:
        """The same event with its texts redacted."""
        return Event(self.kind, redactor.line(self.message), redactor.data(self.data))
