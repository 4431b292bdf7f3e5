"""Where a command writes to, and what of Airflow's logs is seen."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import IO, Any

__all__ = ["prepared_output", "quiet"]

#: The level below which nothing is shown of Airflow's logs.
_shown = logging.WARNING
#: Logger of the sink ``task_log``: what it tells of a call, the command shows anyway.
_OPERATIONS = "airflow_provider_apitask.oplog"


def prepared_output() -> IO[str]:
    """Standard output for the command alone, its connections and variables read as Airflow's servers do.

    Whatever else writes there (logs, a ``print`` in a DAG file) goes to standard error from now on, so that
    the output can be read by a program.
    """
    import structlog

    # Connections and variables are those that Airflow's database has, too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    # In place, for the loggers that have been made.
    structlog.get_config()["processors"].insert(0, _drop)
    quiet(logging.WARNING)
    sys.stdout.flush()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="backslashreplace")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    watched: Any = _Watched(out)
    return watched  # type: ignore[no-any-return]  # as far as it is used


class _Watched:
    """An output that tells the process to end when nobody reads it any more (``| head``, a closed terminal).

    A failure to write would be one of the task otherwise, and its job would be left alone.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)

    def write(self, text: str) -> int:
        """Write, into nothing where nobody reads."""
        try:
            return self._out.write(text)
        except OSError:
            self._lost()
            return len(text)

    def flush(self) -> None:
        """Flush, into nothing where nobody reads."""
        try:
            self._out.flush()
        except OSError:
            self._lost()

    def _lost(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._out.fileno())
        os.close(nothing)
        os.kill(os.getpid(), signal.SIGTERM)


def quiet(level: int) -> int:
    """Show of Airflow's logs what is of this level or above.

    :returns: the level before.
    """
    global _shown
    before, _shown = _shown, level
    logging.disable(level - 1)
    return before


def _drop(logger: Any, method: str, event: Any) -> Any:
    import structlog

    level = structlog.processors.NAME_TO_LEVEL.get(method, logging.CRITICAL)
    if level < _shown or getattr(logger, "name", None) == _OPERATIONS:
        raise structlog.DropEvent
    return event
