"""Who is told of operations: built-in sinks, functions and sinks of the user, by name or as they are.

A *sink* is an object with ``write(records)``, called with a sequence of records, and perhaps
``flush()``, called after it, which may take longer. Anything else that can be called is given each
record by itself. Both are called in a thread of their own, and waited for no longer than
``[apitask] operation_log_timeout``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.records import OperationRecord

__all__ = ["BUILT_IN", "Hook", "configured", "configured_timeout", "resolved"]

#: Sinks that come with this package, by name.
BUILT_IN = {
    "task_log": "airflow_provider_apitask.oplog.task_log.TaskLogSink",
    "sql": "airflow_provider_apitask.oplog.sql.SqlSink",
    "otel": "airflow_provider_apitask.oplog.otel.OtelSink",
    "metrics": "airflow_provider_apitask.oplog.metrics.MetricsSink",
}
#: Sinks that are on by default where one of these options of Airflow is.
_FOLLOWS = {
    "otel": (("traces", "otel_on"),),
    "metrics": (("metrics", "statsd_on"), ("metrics", "statsd_datadog_enabled"), ("metrics", "otel_on")),
}
SECTION = "apitask"
_DEFAULT_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook, ready to be called.

    :param name: for messages.
    :param key: tells one hook from another.
    :param write: takes records.
    :param flush: finishes what ``write`` has begun, None where there is nothing.
    :param inline: whether it is called in the thread of the task: it is quick and needs its context.
    """

    name: str
    key: object
    write: Callable[[Sequence[OperationRecord]], None]
    flush: Callable[[], None] | None = None
    inline: bool = False


def configured() -> list[str]:
    """The hooks of ``[apitask] operation_log``; by default ``task_log``, and what Airflow itself has on."""
    from airflow.providers.common.compat.sdk import conf

    text = conf.get(SECTION, "operation_log", fallback=None)
    if text is None:
        on = (name for name, options in _FOLLOWS.items() if any(map(_is_on, options)))
        return ["task_log", *on]
    return [name for item in text.split(",") if (name := item.strip())]


def _is_on(option: tuple[str, str]) -> bool:
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean(*option, fallback=False))


def configured_timeout() -> float:
    """Seconds that a hook is waited for at most: ``[apitask] operation_log_timeout``."""
    from airflow.providers.common.compat.sdk import conf

    timeout: float = conf.getfloat(SECTION, "operation_log_timeout", fallback=_DEFAULT_TIMEOUT)
    return max(0.0, timeout)


def resolved(hooks: Any) -> Iterator[Hook | Exception]:
    """The hooks behind what was given; what cannot be had is an error in its place.

    :param hooks: a name, a dotted path, a function, a sink, or a list of these; None for those of the
        configuration.
    """
    given = configured() if hooks is None else hooks
    for item in given if isinstance(given, (list, tuple)) else [given]:
        try:
            yield _hook(item)
        except Exception as error:  # noqa: BLE001 - a hook of the user: it must not end the task
            yield error


#: Sinks that were made from a class by its path: one for a process.
_made: dict[str, Any] = {}


def _hook(item: Any) -> Hook:
    if not isinstance(item, str):
        return _of(item, getattr(item, "__qualname__", type(item).__qualname__), item)
    if item not in _made:
        found = _found(BUILT_IN.get(item, item), item)
        _made[item] = found() if isinstance(found, type) else found
    return _of(_made[item], item, item)


def _of(target: Any, name: str, key: object) -> Hook:
    write = getattr(target, "write", None)
    if callable(write):
        inline = getattr(target, "inline", False) is True
        return Hook(name, key, write, getattr(target, "flush", None), inline)
    if not callable(target):
        raise ParameterError(
            f"operation_log: {name} is neither a function nor a sink with write(records).",
            parameter="operation_log",
        )

    def each(records: Sequence[OperationRecord]) -> None:
        for record in records:
            target(record)

    return Hook(name, key, each)


def _found(path: str, name: str) -> Any:
    module, _, attribute = path.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(BUILT_IN)
        raise ParameterError(
            f"operation_log: {name} cannot be imported ({error}); give a dotted path, or one of {known}.",
            parameter="operation_log",
        ) from None
