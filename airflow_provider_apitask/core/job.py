"""An asynchronous job as an author declares it: how to follow it, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import check_path, is_plain, is_xpath
from airflow_provider_apitask.core.kinds import (
    Codes,
    Condition,
    Count,
    Number,
    OneOrMore,
    Pairs,
    Reasons,
    RequestLike,
    Seconds,
    Words,
)
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.status import DEFAULT_WORDS, StatusWords, Verdict
from airflow_provider_apitask.core.status_codes import parse_codes
from airflow_provider_apitask.core.templating import is_template
from airflow_provider_apitask.core.value_object import ValueObject, compile_paths

if TYPE_CHECKING:
    from airflow_provider_apitask.core.answers import Reading
    from airflow_provider_apitask.core.reconcile_spec import Reconcile

__all__ = ["CANCEL_REASONS", "DEFAULT_STATUS_PATHS", "AsyncJob"]

#: The first is where a status is. The others count only if a known word is there.
DEFAULT_STATUS_PATHS = ("$.status", "$.state", "$.properties.provisioningState")
#: When a job can be cancelled, see ``AsyncJob.cancel_on``.
CANCEL_REASONS = ("kill", "timeout", "deadline", "clear")

_PATHS = ("error_path", "progress_path", "message_path", "result_path")
#: The requests after the submit, and the method of one that names none.
_REQUESTS = {
    "status_request": "GET",
    "error_request": "GET",
    "result_request": "GET",
    "cancel_request": "DELETE",
}
_WORDS = ("success_values", "failure_values", "cancelled_values", "running_values")
#: The first that holds counts: what says that it did not go well is not believed to have worked.
_CONDITIONS = {
    "cancelled_when": Verdict.CANCELLED,
    "failure_when": Verdict.FAILED,
    "lost_when": Verdict.LOST,
    "running_when": Verdict.RUNNING,
    "success_when": Verdict.SUCCEEDED,
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AsyncJob(ValueObject):
    """How to follow a job from its submit to its result. All times are seconds.

    Everything is optional: a server that answers with ``Operation-Location`` or ``Location`` and
    uses common status words needs nothing here. A plain dict with the same fields will do too.

    :param extract: names for parts of the submit's answer: ``{"run": "$.runId"}``; a path, or
        ``headers.Name``. The names can stand as ``{run}`` in the requests below.
    :param job_id: path of what identifies the job to people, or its name in ``extract``; by
        default the end of its status URL, else an ``id`` in the answer.
    :param status_request: request that tells the status, such as ``/runs/{runId}/status``; by
        default a GET of the URL in the answer's ``Operation-Location``, ``Azure-AsyncOperation``
        or ``Location``.
    :param status_path: path of the status, or a list of paths. Any value at the first path is a status;
        a later path counts only if it holds a known word. By default ``$.status``, ``$.state``,
        ``$.properties.provisioningState``.
    :param success_values: status words that mean success; by default the common ones. Words are
        compared without case, ``_``, ``-`` and spaces. If this field, another list of words, a
        condition, ``status_path`` or ``status_request`` differs from its default, every response must
        have a status: a 2xx without one is a failed poll (a 202 means running).
    :param failure_values: the same for failure.
    :param cancelled_values: the same for a job that was cancelled.
    :param running_values: the same for a job that goes on.
    :param unknown_status: what a word in none of the lists is: ``fail`` (default) or ``running``.
    :param success_when: condition on the answer to a check that means success, looked at before any
        status word: ``{"$.done": True}``, ``{"$.state": "ready", "$.error": {"absent": True}}``; a list
        of such, of which one must hold. Where it is given nothing else means success: an answer that
        says nothing of the kind is that of a job that goes on. An answer other than 2xx meets only a
        condition that names its ``status_code``.
    :param failure_when: the same for failure; ``{"status_code": 404}`` takes a 404 for one.
    :param cancelled_when: the same for a job that was cancelled; goes before all others.
    :param running_when: the same for a job that goes on; goes before ``success_when``.
        ``{"status_code": [404, 500]}`` takes both for "not yet".
    :param lost_when: condition that means that the server does not know the job (any more), for servers
        that say so with another code than 404 or 410:
        ``{"status_code": 500, "$.errors[*].error_number": 2017}``. Checked after ``failure_when``.
    :param error_path: where a failed job's reason is; by default RFC 9457 and common shapes.
    :param error_request: request that returns the reason of a failed job, if the status response does not
        have it; ``error_path`` then reads its response. The job has failed whatever comes of this request.
    :param progress_path: where the progress is, for the log: a change is told once a minute at most.
    :param message_path: where the server says what the job is doing, for the log: each change is told, one
        of its numbers alone as a progress is.
    :param link_path: where a link to the job is that people can follow: a path, ``headers.Name``, or the
        link itself with ``{path}`` in it, such as ``https://ui.example.com/jobs/{job_id}`` or
        ``{status_url}``, the URL that is polled. A relative one belongs to the answer's URL. The first one
        that an answer gives is shown at the task as "Remote job", without user info, credentials and
        signatures. By default none.
    :param defer_after: seconds for which a deferrable task polls on the worker before it defers, 5 by
        default, so that a short job does not pay for a deferral. It defers earlier if no poll is due within
        that time; 0 defers at once.
    :param initial_delay: seconds before the first check, 0 by default.
    :param poll_interval: seconds between checks, 15 by default. A ``Retry-After`` of the server
        is obeyed instead, between one second and ``max_poll_interval``.
    :param poll_factor: growth of the interval from check to check, 1 by default.
    :param max_poll_interval: longest wait that ``poll_factor`` or a ``Retry-After`` makes of
        ``poll_interval``, 3600 by default. It never shortens ``poll_interval`` itself.
    :param max_polls: checks after which the job counts as timed out; by default no limit.
    :param deadline: seconds from the submit after which the job counts as timed out; by default
        none: a job runs as long as it is healthy.
    :param status_grace: seconds for which checks, or requests for the result, may fail; 300 by default.
    :param not_found_grace: seconds from the submit for which 404 means "not yet", 60 by default.
    :param final_status_codes: codes of a response that end the job as failed: ``500``, ``"5xx"``, a list; for
        servers that respond with 500 to what will never change.
    :param result_request: request that fetches the result; by default a GET of the location that the
        server gave, else the last status response is the result. False: it is in any case.
    :param result_path: the part of the result that is handed on; by default all of it.
    :param cancel_request: request that cancels the job, such as ``{"method": "DELETE"}`` (sent to the
        URL that is polled) or ``{"method": "POST", "endpoint": "/jobs/{job_id}/stop"}``; a text is a
        ``DELETE`` of that endpoint. By default a job is never cancelled.
    :param cancel_on: when it is sent, a list; by default always: ``kill`` (somebody marks the task
        or fails its run), ``timeout`` (``execution_timeout``), ``deadline`` (``deadline`` and
        ``max_polls``), ``clear`` (somebody clears the task while its job runs).
    :param required: whether a 2xx response to the submission must name a job, True by default. With False,
        one that does not is the result itself: some servers do small work at once.
    :param reconcile: how to find the job where the submit got no answer, a ``Reconcile`` or a dict:
        ``{"request": "/jobs", "items": "$.jobs", "match": {"$.name": "nightly {{ ds }}"}}``.
    :param reattach: whether a retry of the task goes on with the job of the try before, True by
        default; False starts another one each time. Needs Airflow 3.3.
    :param on_lost: what follows where the server no longer knows the job: ``fail`` (default), or
        ``submit``, a retry starts another one.
    """

    _parameter: ClassVar[str] = "job"
    _forms: ClassVar[str] = "an AsyncJob or a dict"
    _none_is_default: ClassVar[bool] = True

    extract: Pairs = None
    job_id: str | None = None
    status_request: RequestLike = None
    status_path: OneOrMore = DEFAULT_STATUS_PATHS
    success_values: Words = DEFAULT_WORDS[Verdict.SUCCEEDED]
    failure_values: Words = DEFAULT_WORDS[Verdict.FAILED]
    cancelled_values: Words = DEFAULT_WORDS[Verdict.CANCELLED]
    running_values: Words = DEFAULT_WORDS[Verdict.RUNNING]
    unknown_status: str = "fail"
    success_when: Condition = None
    failure_when: Condition = None
    cancelled_when: Condition = None
    running_when: Condition = None
    lost_when: Condition = None
    error_path: str | None = None
    error_request: RequestLike = None
    progress_path: str | None = None
    message_path: str | None = None
    link_path: str | None = None
    defer_after: Seconds = 5
    initial_delay: Seconds = 0
    poll_interval: Seconds = 15
    poll_factor: Number = 1.0
    max_poll_interval: Seconds = 3600
    max_polls: Count = None
    deadline: Seconds = None
    status_grace: Seconds = 300
    not_found_grace: Seconds = 60
    final_status_codes: Codes = None
    result_request: RequestLike = None
    result_path: str | None = None
    cancel_request: RequestLike = None
    cancel_on: Reasons = CANCEL_REASONS
    required: bool = True
    reconcile: Pairs = None
    reattach: bool = True
    on_lost: str = "fail"

    def __post_init__(self) -> None:
        """Check every field; those that Jinja still has to render are checked when the task runs."""
        self._take_defaults()
        normal: dict[str, Any] = {
            "extract": checks.mapping(self.extract, "job.extract"),
            "status_path": checks.paths(self.status_path, "job.status_path"),
            "unknown_status": checks.choice(self.unknown_status, "job.unknown_status", ("fail", "running")),
            "defer_after": checks.number(self.defer_after, "job.defer_after"),
            "initial_delay": checks.number(self.initial_delay, "job.initial_delay"),
            "poll_interval": checks.number(self.poll_interval, "job.poll_interval", above=True),
            "poll_factor": checks.number(self.poll_factor, "job.poll_factor", minimum=1),
            "max_poll_interval": checks.number(self.max_poll_interval, "job.max_poll_interval", above=True),
            "max_polls": checks.number(self.max_polls, "job.max_polls", minimum=1, whole=True),
            "deadline": checks.number(self.deadline, "job.deadline", above=True),
            "status_grace": checks.number(self.status_grace, "job.status_grace"),
            "not_found_grace": checks.number(self.not_found_grace, "job.not_found_grace"),
            "final_status_codes": parse_codes(self.final_status_codes, "job.final_status_codes"),
            "cancel_on": checks.choices(self.cancel_on, "job.cancel_on", CANCEL_REASONS),
            "on_lost": checks.choice(self.on_lost, "job.on_lost", ("fail", "submit")),
            "required": checks.flag(self.required, "job.required"),
            "reattach": checks.flag(self.reattach, "job.reattach"),
        }
        for name in _WORDS:
            normal[name] = checks.words(getattr(self, name), f"job.{name}")
        for name in _CONDITIONS:
            if (given := getattr(self, name)) is not None:
                # Most jobs have none, and reading them imports much.
                from airflow_provider_apitask.core.conditions import parse_conditions

                normal[name] = parse_conditions(given, f"job.{name}")
        for parameter, path in self._named_paths():
            if path is not None and not checks.is_open(path):
                check_path(path, parameter)
        if self.has_link_template and not checks.is_open(self.link_path):
            checks.web_link(self.link_path, "job.link_path")
        self._set({**normal, **self._requests()})
        if not any(checks.is_open(value) for name in _WORDS for value in (getattr(self, name) or ())):
            self.status_words()

    def _requests(self) -> dict[str, Any]:
        """The requests that are given, read and checked."""
        found: dict[str, Any] = {}
        for name, method in _REQUESTS.items():
            request = getattr(self, name)
            if request is False and name == "result_request":
                continue  # the last status response is the result
            if request is not None and not checks.is_open(request):
                found[name] = RequestSpec.parse(request, f"job.{name}", method=method)
        if self.reconcile is not None and not checks.is_open(self.reconcile):
            from airflow_provider_apitask.core.reconcile_spec import Reconcile

            found["reconcile"] = search = Reconcile.parse(self.reconcile, "job.reconcile")
            search.check_job(self.status_request, found, self.extract)
        return found

    def _as_json(self, name: str, value: Any) -> Any:
        if name in _CONDITIONS:
            from airflow_provider_apitask.core.conditions import conditions_as_dicts

            return conditions_as_dicts(value)
        if name == "cancel_request" and isinstance(value, RequestSpec):
            # Its default is not that of other requests.
            return {**value.to_dict(), "method": value.method}
        return value.to_dict() if isinstance(value, ValueObject) else value

    def compiled(self) -> Self:
        """Compile every path, so that a wrong one fails before anything is submitted.

        :raises ParameterError: naming the field.
        """
        for name in _CONDITIONS:
            if checks.is_open(getattr(self, name)):
                raise ParameterError(f"job.{name} was not rendered.", parameter=f"job.{name}")
        compile_paths(self._named_paths())
        return self

    def status_words(self) -> StatusWords:
        """The meaning of each status word."""
        return StatusWords.build(
            success=self.success_values,
            failure=self.failure_values,
            cancelled=self.cancelled_values,
            running=self.running_values,
            unknown_is_running=self.unknown_status == "running",
        )

    def verdict(self, reading: Reading) -> tuple[Verdict, str] | None:
        """What the conditions say of the answer to a check, and which of them; None where none holds."""
        if all(getattr(self, name) is None for name in _CONDITIONS):
            return None
        from airflow_provider_apitask.core.conditions import which_applies

        for name, verdict in _CONDITIONS.items():
            # One failed item is enough for a failure; success is the success of all of them.
            every = verdict is Verdict.SUCCEEDED
            if (held := which_applies(getattr(self, name), reading, every=every)) is not None:
                return verdict, f"job.{name}: {' and '.join(held)}"
        return None

    def cancels_on(self, reason: str) -> bool:
        """Whether the job is to be cancelled for this reason, one of ``CANCEL_REASONS`` or of a test run."""
        always = self.cancel_on == CANCEL_REASONS
        return self.cancel_request is not None and (always or reason in self.cancel_on)

    @property
    def asks_for_status(self) -> bool:
        """Whether the author said where to ask for the status; else the server's monitor URL is."""
        return isinstance(self.status_request, RequestSpec) and self.status_request.endpoint is not None

    @property
    def expects_status(self) -> bool:
        """Whether the author declared what a status is: a response without one is a failed poll (rule 10)."""
        return any(getattr(self, name) != _DEFAULTS[name] for name in _DECLARING)

    @property
    def names_status_path(self) -> bool:
        """Whether the author said where the status is."""
        return bool(self.status_path != DEFAULT_STATUS_PATHS)

    @property
    def needs_json_for_success(self) -> bool:
        """Whether ``success_when`` looks into a body of JSON."""
        from airflow_provider_apitask.core.conditions import STATUS_CODE, paths_of

        paths = paths_of(self.success_when or [])
        return any(
            path != STATUS_CODE and not path.startswith("headers.") and not is_xpath(path) for path in paths
        )

    @property
    def follows_plain_paths(self) -> bool:
        """Whether a response is read by plain paths alone: by no XPath, filter, wildcard or pattern."""
        named = (path for _, path in self._named_paths() if path is not None)
        return all(map(is_plain, (*named, *self.later_placeholders()))) and not self._matches_patterns()

    def _matches_patterns(self) -> bool:
        conditions = (condition for name in _CONDITIONS for condition in getattr(self, name) or ())
        checked = (check for condition in conditions for check in condition.values())
        return any(getattr(check, "pattern", None) for check in checked)

    @property
    def path_of_job_id(self) -> str | None:
        """Where the job's id is, or its name in ``extract``; it may be written as ``{path}``."""
        path = self.job_id
        if isinstance(path, str) and path.startswith("{") and path.endswith("}"):
            return path[1:-1]
        return path

    @property
    def has_link_template(self) -> bool:
        """Whether ``link_path`` is the link itself, and not where it is."""
        return isinstance(self.link_path, str) and is_template(self.link_path)

    @property
    def status_paths(self) -> tuple[str, ...]:
        """Return the paths of the status, the most trusted first."""
        given = self.status_path
        return tuple(given) if isinstance(given, (list, tuple)) else (given,)

    def _named_paths(self) -> Iterator[tuple[str, Any]]:
        yield "job.job_id", self.path_of_job_id
        yield from (("job.status_path", path) for path in self.status_paths)
        for name in _PATHS:
            yield f"job.{name}", getattr(self, name)
        if not self.has_link_template:
            yield "job.link_path", self.link_path
        if isinstance(self.extract, Mapping):
            for name, path in self.extract.items():
                yield f"job.extract[{name!r}]", path
        for name in _CONDITIONS:
            if isinstance(conditions := getattr(self, name), list):
                from airflow_provider_apitask.core.conditions import STATUS_CODE, paths_of

                known = [condition for condition in conditions if isinstance(condition, dict)]
                yield from ((f"job.{name}", path) for path in paths_of(known) if path != STATUS_CODE)
        if (search := self._search()) is not None:
            yield from search.named_paths("job.reconcile")

    def requests(self) -> Iterator[Any]:
        """The requests after the submit that are given, the search for a lost job included."""
        yield from (request for name in _REQUESTS if (request := getattr(self, name) or None) is not None)
        if (search := self._search()) is not None:
            yield search.request

    def _search(self) -> Reconcile | None:
        """How a lost job is looked for, where that is known already."""
        return self.reconcile if hasattr(self.reconcile, "named_paths") else None

    def later_placeholders(self) -> Iterator[str]:
        """The ``{path}`` placeholders of all requests after the submit."""
        for request in (getattr(self, name) for name in _REQUESTS):
            if isinstance(request, RequestSpec):
                yield from request.placeholders()


#: Fields that declare what a status is if they differ from their defaults.
_DECLARING = (*_WORDS, *_CONDITIONS, "status_path", "status_request")
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(AsyncJob)}
