"""Telling Airflow's own masker of secrets that are got at run time, such as tokens."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from typing import Any

__all__ = ["mask_on_triggerer", "mask_on_worker"]

log = logging.getLogger(__name__)
#: Kept until they are done: the event loop holds tasks weakly.
_telling: set[asyncio.Task[None]] = set()
#: How many secrets that were got at run time the masker of a triggerer knows at once: it runs for
#: months, and searches each line for all of them.
_LEARNED = 100
#: What the masker of this process took on for each secret, the oldest first.
_told: dict[str, set[str]] = {}


def mask_on_worker(secret: str) -> None:
    """Mask a secret in the logs of this task, and in those of its supervisor."""
    from airflow.sdk.log import mask_secret

    mask_secret(secret)


def mask_on_triggerer(secret: str) -> None:
    """Mask a secret in the logs of this triggerer, without blocking its event loop.

    A hundred newer ones take its place. (Airflow 3.3 has the supervisor know it too, which forgets nothing.)
    """
    if secret in _told:
        _told[secret] = _told.pop(secret)
        return
    _told[secret] = set()
    if (masker := _masker()) is not None:
        before = set(masker.patterns)
        masker.add_mask(secret)
        _told[secret] = masker.patterns - before
    _forget_the_oldest(masker)
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow 3.2: the process that writes the logs of triggers is this one
        return
    task = asyncio.get_running_loop().create_task(amask_secret(secret))
    _telling.add(task)
    task.add_done_callback(_telling.discard)


@functools.cache  # one lookup, and so one warning
def _masker() -> Any:
    """Return Airflow's masker of this process; None if it lacks the private attributes that are edited."""
    try:
        from airflow.sdk._shared.secrets_masker import _secrets_masker

        masker = _secrets_masker()
        if isinstance(masker.patterns, set) and hasattr(masker, "replacer"):
            return masker
    except (ImportError, AttributeError):
        pass
    log.warning(
        "This version of Airflow has another secrets masker than the one this package knows. Secrets are "
        "still masked, but the triggerer never forgets expired tokens, so its memory grows. Check for a "
        "newer version of airflow-provider-apitask."
    )
    return None


def _forget_the_oldest(masker: Any) -> None:
    if len(_told) <= _LEARNED:
        return
    forgotten = set().union(*(_told.pop(next(iter(_told))) for _ in range(len(_told) - _LEARNED)))
    if masker is not None and forgotten:
        masker.patterns -= forgotten
        masker.replacer = re.compile("|".join(masker.patterns)) if masker.patterns else None
