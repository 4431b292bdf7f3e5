"""The one tree of errors. Each carries data, can cross processes as JSON, and is never empty.

Texts are redacted by whoever builds them (see ``redaction``): an error holds no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from airflow_provider_apitask.core.redaction import Redactor

__all__ = [
    "AnswerError",
    "ApiTaskError",
    "AuthenticationError",
    "ConnectionFieldError",
    "CsrfError",
    "JobCancelledError",
    "JobFailedError",
    "JobLostError",
    "JobTimedOutError",
    "LoginUnavailableError",
    "NothingToFollowError",
    "OriginError",
    "ParameterError",
    "PatternTimeoutError",
    "RequestFailedError",
    "ResponseTooLargeError",
    "ResponseValidationError",
    "ResultTooLargeError",
    "StorageError",
    "SubmitUnknownError",
    "UnknownStatusError",
    "error_from_dict",
]

#: Names that data cannot have.
_ARGUMENTS = frozenset({"self", "message"})
_KINDS: dict[str, type[ApiTaskError]] = {}


class ApiTaskError(Exception):
    """Base of all errors of this package.

    :param message: what was tried, what came back, what to do; already redacted.
    :param data: JSON values behind the message, such as ``status_code``, ``url``, ``job_id``.
    """

    kind: ClassVar[str] = "error"
    #: Whether a new try of the task can succeed without a person changing something first, and
    #: cannot do harm. Airflow's retries are skipped where this is False. The rule of the class;
    #: ``retryable`` in the data of one error goes before it.
    retryable: bool = True
    #: Whether the message has line breaks of its own. In any other one they come from a server.
    has_lines: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        # Whoever derives a class further, for example to mix one of Airflow's in, keeps the kind.
        _KINDS.setdefault(cls.kind, cls)

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message or f"{type(self).__name__} without a message")
        self.data = {name: value for name, value in data.items() if value is not None}
        if "retryable" in self.data:
            self.retryable = bool(self.data["retryable"])

    @property
    def message(self) -> str:
        """The text of the error."""
        return str(self.args[0])

    def with_data(self, **data: Any) -> Self:
        """The same error with more data; what it has already stays."""
        return type(self)(self.message, **{**data, **self.data})

    def redacted(self, redactor: Redactor) -> Self:
        """Return the same error with its texts redacted once more, and cut to what a log can bear."""
        return type(self)(redactor.line(self.message, lines=self.has_lines), **redactor.data(self.data))

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON, to cross from the triggerer to the worker."""
        return {"kind": self.kind, "message": self.message, "data": self.data}


class ParameterError(ApiTaskError, ValueError):
    """A parameter of the DAG author is missing or wrong. Data: ``parameter``."""

    kind = "parameter"
    retryable = False


class ConnectionFieldError(ApiTaskError, ValueError):
    """A field of the Airflow connection is missing or wrong. Data: ``conn_id``, ``field``."""

    kind = "connection_field"
    retryable = False


class OriginError(ApiTaskError):
    """A URL was refused before anything was sent to it (RFC 9110 §15.4, §17.11). Data: ``url``."""

    kind = "origin"
    retryable = False


class AuthenticationError(ApiTaskError):
    """No credential was to be had: the login or token endpoint refused. Data: ``url``, ``status_code``."""

    kind = "authentication"
    retryable = False


class LoginUnavailableError(ApiTaskError):
    """No credential was to be had for the moment; the request it was for was never sent."""

    kind = "login_unavailable"


class CsrfError(ApiTaskError):
    """No CSRF token was to be had; the request it was for was never sent. Data: ``url``."""

    kind = "csrf"


class RequestFailedError(ApiTaskError):
    """A request was refused or did not get through. Data: ``method``, ``url``, ``status_code``."""

    kind = "request_failed"


class AnswerError(ApiTaskError):
    """An answer came that cannot be used: not JSON, HTML, or a path matches nothing in it."""

    kind = "answer"


class ResponseTooLargeError(ApiTaskError):
    """A response is too large for a triggerer; a worker reads it."""

    kind = "response_too_large"


class PatternTimeoutError(AnswerError):
    """A regular expression takes too long on a text of the server."""

    kind = "pattern_timeout"


class NothingToFollowError(AnswerError):
    """A job was accepted, but the answer does not say where to ask for its status."""

    kind = "nothing_to_follow"
    retryable = False


class ResponseValidationError(AnswerError):
    """An answer breaks rules of ``response_validation``. Data: ``violations``, ``url``, ``status_code``.

    Each violation has ``rule``, ``path``, ``expected`` and ``found``, all texts. Retryable as a
    class: the same question may have a good answer a minute later. Where asking again would do
    something twice, the error says so in its data.
    """

    kind = "response_validation"
    has_lines = True


class ResultTooLargeError(AnswerError):
    """A result is larger than the author or XCom allows. Data: ``limit``, the parameter that bounds it."""

    kind = "result_too_large"
    retryable = False


class StorageError(ApiTaskError):
    """The result could not be written to ``output_path``. Data: ``path``."""

    kind = "storage"


class SubmitUnknownError(ApiTaskError):
    """The submit may or may not have started a job; sending it again might start a second one."""

    kind = "submit_unknown"
    retryable = False


class JobFailedError(ApiTaskError):
    """The server says that the job failed. Data: ``job_id``, ``status``, ``reason``."""

    kind = "job_failed"


class UnknownStatusError(JobFailedError):
    """The job's status is a word that is in none of the lists. Data: ``status``."""

    kind = "unknown_status"
    retryable = False


class JobCancelledError(ApiTaskError):
    """The server says that the job was cancelled. Data: ``job_id``, ``status``."""

    kind = "job_cancelled"


class JobTimedOutError(ApiTaskError):
    """The job was still not done at its deadline or after ``max_polls`` checks."""

    kind = "job_timed_out"


class JobLostError(ApiTaskError):
    """The server does not know the job (any more): 404 after the grace, or 410."""

    kind = "job_lost"


def error_from_dict(record: dict[str, Any]) -> ApiTaskError:
    """Build the typed error again from :meth:`ApiTaskError.to_dict`."""
    cls = _KINDS.get(str(record.get("kind")), ApiTaskError)
    data = record.get("data")
    named = {str(name): value for name, value in data.items()} if isinstance(data, dict) else {}
    return cls(str(record.get("message") or ""), **{n: v for n, v in named.items() if n not in _ARGUMENTS})
