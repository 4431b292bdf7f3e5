"""Telling Airflow's own masker of secrets that are got at run time, such as tokens."""

from __future__ import annotations

import asyncio
import logging

__all__ = ["mask_on_triggerer", "mask_on_worker"]

log = logging.getLogger(__name__)
#: Kept until they are done: the event loop holds tasks weakly.
_telling: set[asyncio.Task[None]] = set()


def mask_on_worker(secret: str) -> None:
    """Mask a secret in the logs of this task, and in those of its supervisor."""
    from airflow.sdk.log import mask_secret

    mask_secret(secret)


def mask_on_triggerer(secret: str) -> None:
    """Mask a secret in the logs of this triggerer, without blocking its event loop."""
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:  # Airflow 3.2: the process that writes the logs of triggers is this one
        from airflow.sdk._shared.secrets_masker import _secrets_masker

        _secrets_masker().add_mask(secret)
        return
    task = asyncio.get_running_loop().create_task(amask_secret(secret))
    _telling.add(task)
    task.add_done_callback(_telling.discard)
