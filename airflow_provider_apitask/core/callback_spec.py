"""How a service calls back when a job has ended, as an author declares it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path
from airflow_provider_apitask.core.value_object import ValueObject, compile_paths

__all__ = ["PLACEHOLDER", "Callback", "expiry_of", "seed_of"]

#: Where the URL goes in the submit. No other brace there means anything.
PLACEHOLDER = "{callback_url}"
#: How long a URL is good for by default, seconds.
_WEEK = 604_800
#: What a callback may come later than the deadline, seconds: it is answered well, and does nothing.
_SLACK = 3600.0
_PATHS = ("status_path", "job_id_path", "error_path")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Callback(ValueObject):
    """The service calls a URL of this Airflow when the job has ended. All times are seconds.

    The URL goes where ``{callback_url}`` stands in the submit: in its body, params, headers or endpoint. It
    is signed, cannot be guessed and expires. Where the job's status can be asked for, a callback is only a
    hint to ask for it now; where it cannot, it tells how the job ended, by the status words of ``job``.

    :param status_path: where the status is in the payload, by default that of ``job``.
    :param job_id_path: where the job's id is in the payload; a callback about another job is ignored. By
        default it is not looked at.
    :param error_path: where a failed job's reason is in the payload, by default that of ``job``.
    :param expires: for how long the URL is good, 604800 (7 days) by default, which is extended beyond a
        longer ``job.deadline``.
    :param poll_interval: seconds between the status checks that go on until the service calls back, 300 by
        default.
    """

    _parameter: ClassVar[str] = "callback"
    _forms: ClassVar[str] = "True, a Callback or a dict"

    status_path: str | None = None
    job_id_path: str | None = None
    error_path: str | None = None
    expires: Any = _WEEK
    poll_interval: Any = 300

    def __post_init__(self) -> None:
        """Check every field; those that Jinja still has to render are checked when the task runs."""
        self._take_defaults()
        self._set(
            {
                "expires": checks.number(self.expires, "callback.expires", above=True),
                "poll_interval": checks.number(self.poll_interval, "callback.poll_interval", above=True),
            }
        )
        for parameter, path in self._named_paths():
            if path is not None and not checks.is_open(path):
                check_path(path, parameter)

    @classmethod
    def as_template(cls, value: Any, parameter: str = "") -> Any:
        """Return it as the plain dict that Jinja can render, checked; None where there is none."""
        if isinstance(value, bool):
            return {} if value else None
        return super(Callback, cls).as_template(value, parameter)

    def compiled(self) -> Callback:
        """Compile every path, so that a wrong one fails before anything is submitted.

        :raises ParameterError: naming the field.
        """
        compile_paths(self._named_paths())
        return self

    def lifetime(self, deadline: float | None) -> float:
        """For how many seconds a URL is good.

        :param deadline: of the job, seconds from the submit.
        """
        expires = float(self.expires)
        return max(expires, (deadline or 0.0) + _SLACK) if expires == _WEEK else expires

    def _named_paths(self) -> Iterator[tuple[str, Any]]:
        for name in _PATHS:
            yield f"callback.{name}", getattr(self, name)


def seed_of(nonce: str, expires_at: float) -> str:
    """What the ids of the callbacks are made from that one process waits for.

    :param nonce: random text without a dot.
    :param expires_at: Unix time.
    """
    if "." in nonce:
        raise ParameterError("A nonce has no dot in it.", parameter="callback")
    return f"{nonce}.{int(expires_at)}"


def expiry_of(callback_id: str | None) -> float | None:
    """Unix time until which a callback is taken; None for a text that is no id of one.

    :param callback_id: ``<nonce>.<expiry>.<submission>``.
    """
    parts = (callback_id or "").split(".")
    return float(parts[1]) if len(parts) == 3 and parts[1].isdecimal() and len(parts[1]) < 16 else None
