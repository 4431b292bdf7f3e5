"""The idempotency key: how a server knows that a request it gets again is the same one."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

__all__ = ["DEFAULT_HEADER", "PLACEHOLDER", "Idempotency"]

#: The header field of draft-ietf-httpapi-idempotency-key-header.
DEFAULT_HEADER = "Idempotency-Key"
#: Stands for the key anywhere in the submission.
PLACEHOLDER = "{idempotency_key}"
_NAMESPACE = UUID("5b0f0f3e-6d2b-5a57-9d6c-0f2a7a3f9a51")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """What makes the key of a submit.

    :param seed: what identifies the task instance, or the whole key as its author gave it.
    :param header: header field that carries the key; None if only a placeholder does.
    :param fixed: the author gave the key; else it is derived from ``seed``.
    :param per_try: ``seed`` is another one in each try.
    """

    seed: str
    header: str | None = DEFAULT_HEADER
    fixed: bool = False
    per_try: bool = False

    def key(self, submission: int) -> str:
        """The key of a submit.

        :param submission: how many jobs this task has started whose end is known. A server answers a
            known key with the job of before, so the one after a job that failed needs another.
        """
        return self.seed if self.fixed else str(uuid5(_NAMESPACE, f"{self.seed}\n{submission}"))
