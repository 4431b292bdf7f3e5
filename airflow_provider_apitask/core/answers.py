"""Reading an answer: its document, its status, its links, its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.core.bodies import (
    is_html,
    json_or_text,
    parse_json,
    says_json,
    says_xml,
)
from airflow_provider_apitask.core.errors import AnswerError, ResponseTooLargeError
from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.extraction import (
    MISSING,
    compile_path,
    find_items,
    find_result,
    find_value,
    is_xpath,
    walks,
)
from airflow_provider_apitask.core.messages import Request, Response
from airflow_provider_apitask.core.portable import DEEPEST, pack
from airflow_provider_apitask.core.problem import Redact, cut, first_text, reason, status_line
from airflow_provider_apitask.core.status import StatusWords, Verdict, is_blank
from airflow_provider_apitask.core.urls import resolve

if TYPE_CHECKING:
    from airflow_provider_apitask.core.job import AsyncJob

__all__ = [
    "Links",
    "Reading",
    "brief",
    "find_all_in",
    "find_in",
    "items_in",
    "read_status",
    "result_of",
    "submit_links",
]

#: Where servers put the id of a job, for messages alone: requests name their paths.
_USUAL_IDS = (
    "id",
    "job_id",
    "jobId",
    "jobID",
    "run_id",
    "runId",
    "task_id",
    "taskId",
    "task-id",
    "dag_run_id",
    "name",
)
_HEADER_PREFIX = "headers."
#: Headers that hold a URL, maybe a relative one.
_LINKS = frozenset({"location", "content-location", "operation-location", "azure-asyncoperation"})
#: Longest status, progress or id that is kept, characters.
_BRIEF = 200
#: Longest value of an answer that is kept for later requests, bytes of JSON: it goes into a
#: database row while the task is deferred.
_LARGEST_VALUE = 64 * 1024
#: Values of a JSON document that a triggerer reads: parsing them holds the interpreter for up to 40 ms.
MAX_PARSED_NODES = 50_000
#: Values, or elements and attributes of XML, that a filter, ``..`` or an XPath searches there: some visit
#: each node for each other one, which takes seconds for 20,000.
MAX_SEARCHED_NODES = 20_000
#: Of these there is about one for each value of JSON.
_JSON_NODES = b"{[,"


@dataclass(frozen=True, slots=True)
class Links:
    """Where an accepted submit says that status and result are, absolute."""

    status_url: str | None = None
    result_url: str | None = None


def submit_links(response: Response) -> Links:
    """Read the links of an accepted submit (rule 1).

    ``Operation-Location`` and ``Azure-AsyncOperation`` are monitors by definition, and with one of
    them ``Location`` is the result. ``Location`` alone is a monitor on 201 and 202, in a call that
    its author declared asynchronous.
    """
    location = response.headers.get("Location")
    monitor = response.headers.get("Operation-Location") or response.headers.get("Azure-AsyncOperation")
    if monitor:
        return Links(resolve(monitor, response.url), resolve(location, response.url) if location else None)
    if location and response.status in (201, 202):
        return Links(resolve(location, response.url))
    return Links()


class Reading:
    """One answer, its JSON or XML parsed once and only when it is needed.

    :param redact: takes the connection's secrets out of what is quoted from the body.
    :param bounded: whether a triggerer reads it, which leaves documents of many values to a worker.
    """

    __slots__ = ("_bounded", "_document", "_not_json", "_not_xml", "_redact", "_xml", "request", "response")

    def __init__(
        self, request: Request, response: Response, redact: Redact, *, bounded: bool = False
    ) -> None:
        self.request = request
        self.response = response
        self._redact = redact
        self._bounded = bounded
        self._document: Any = MISSING
        self._not_json: AnswerError | None = None
        self._xml: Any = MISSING
        self._not_xml: AnswerError | None = None

    @property
    def document(self) -> Any:
        """The body as JSON; None if it is empty or not JSON.

        :raises ResponseTooLargeError: if it has too many values for a triggerer.
        """
        if self._document is MISSING:
            self._refuse_large(MAX_PARSED_NODES)
            try:
                self._document = parse_json(self.response)
            except AnswerError as error:
                self._document, self._not_json = None, _alone(error)
        return self._document

    def of(self, document: Any) -> Reading:
        """A part of the answer, read as if it were the whole."""
        part = Reading(self.request, self.response, self._redact, bounded=self._bounded)
        part._document = document
        return part

    @property
    def has_json(self) -> bool:
        """Whether the body is JSON, whatever its media type says; ``null`` is, no body is not."""
        return self.document is not None or (self._not_json is None and bool(self.response.body.strip()))

    @property
    def xml(self) -> Any:
        """The body as XML, None where it is empty, no XML, or one that is not read."""
        if self._xml is MISSING:
            from airflow_provider_apitask.core.xml import parse_xml

            try:
                self._xml = parse_xml(self.response)
            except AnswerError as error:
                self._xml, self._not_xml = None, _alone(error)
        return self._xml

    def document_for(self, path: str) -> Any:
        """What a path reads: the XML for an XPath, else the JSON.

        :raises ResponseTooLargeError: if a triggerer cannot follow the path in so large a document.
        """
        if walks(path):
            self._refuse_large(MAX_SEARCHED_NODES, b"<=" if is_xpath(path) else _JSON_NODES)
        return self.xml if is_xpath(path) else self.document

    def _refuse_large(self, most: int, marks: bytes = _JSON_NODES) -> None:
        if self._bounded and sum(map(self.response.body.count, marks)) > most:
            raise ResponseTooLargeError(
                f"{self.shown} with more than {most} values, which is too much for a triggerer", **self.data
            )

    @property
    def excerpt(self) -> str:
        """The start of the body, as a part of a sentence."""
        return first_text(self.response, self._redact)

    @property
    def shown(self) -> str:
        """What was asked and answered, as the beginning of a sentence."""
        return f"{self.request.method} {self.request.url} answered {status_line(self.response)}"

    @property
    def data(self) -> dict[str, Any]:
        """The same for a program."""
        return {"method": self.request.method, "url": self.request.url, "status_code": self.response.status}

    def error(self, parameter: str, path: str, what: str = "matches nothing in it") -> AnswerError:
        """The error of a path that matches nothing, or nothing that can be used."""
        if is_xpath(path) and self._not_xml is not None:
            what = f"needs XML, and {self._not_xml.message}"
        elif not is_xpath(path) and says_xml(self.response):
            what = f"{what} (for XML it must be an XPath, such as '/job/status')"
        return AnswerError(
            f"{self.shown}, but {parameter}={path!r} {what}: {self.excerpt}.",
            **self.data,
            looked_for=path,
        )

    def refuse_html(self) -> None:
        """Refuse an HTML page where none was asked for, such as a login page with 200 (rule 3).

        :raises AnswerError: unless the author's ``Accept`` names HTML.
        """
        if is_html(self.response) and "html" not in (self.request.headers.get("Accept") or "").lower():
            raise AnswerError(
                f"{self.shown} with an HTML page where JSON was expected; a login page or a proxy may have "
                f"answered in place of the API (headers={{'Accept': 'text/html'}} takes HTML): "
                f"{self.excerpt}.",
                **self.data,
                looked_for="JSON",
            )

    def require_json_if_said(self) -> None:
        """Refuse a body that says it is JSON and is not.

        :raises AnswerError: with the start of what came.
        """
        if says_json(self.response) and self.document is None and self._not_json is not None:
            raise AnswerError(
                f"{self.shown}, but {self._not_json.message}: {self.excerpt}.", **self.data, looked_for="JSON"
            )

    def unreadable(self, *, read_as_json: bool = True) -> str | None:
        """Return why a good response cannot be believed, as the beginning of a sentence; None if it can.

        :param read_as_json: whether broken JSON counts.
        """
        try:
            self.refuse_html()
            if read_as_json:
                self.require_json_if_said()
        except AnswerError as error:
            return error.message.rstrip(".")
        return None

    def value(self) -> Any:
        """The value that the answer stands for: its JSON, else its text; None for no body.

        :raises AnswerError: where it says that it is JSON and is not.
        """
        self.require_json_if_said()
        parsed = says_json(self.response) or isinstance(self._document, (dict, list))
        return self.document if parsed else json_or_text(self.response)

    def values(self, extract: Mapping[str, str] | None, paths: Iterable[str]) -> dict[str, Any]:
        """The values that later requests need.

        :param extract: names with their paths; each must be there.
        :param paths: placeholders; one that is not there may be in a later answer.
        :raises AnswerError: where a path of ``extract`` matches nothing, or too much to be kept.
        """
        found: dict[str, Any] = {}
        for name, path in (extract or {}).items():
            value = _taken(self, path, find_value)
            if value is MISSING:
                raise self.error(f"job.extract[{name!r}]", path)
            found[name] = self._kept(value, f"job.extract[{name!r}]", path)
        for path in sorted(set(paths) - set(found)):
            value = _taken(self, path, find_value)
            if value is not MISSING:
                found[path] = self._kept(value, f"{{{path}}}", path)
        return found

    def _kept(self, value: Any, parameter: str, path: str) -> Any:
        try:
            size = len(json_text(pack(value, DEEPEST), spaced=True).encode())
        except (ValueError, RecursionError):
            raise self.error(parameter, path, "is a value that cannot be kept") from None
        if size > _LARGEST_VALUE:
            raise self.error(parameter, path, f"is larger than the {_LARGEST_VALUE} bytes that can be kept")
        return value

    def reason(self, error_path: str | None) -> str | None:
        """Why the server says that the job failed."""
        document = self.document_for(error_path) if error_path else self.document
        return reason(document, error_path, self._redact)

    def brief(self, value: Any) -> Any:
        """A status, progress or id that is small enough to be kept, redacted where it is cut."""
        return brief(value, self._redact)

    def redacted(self, text: str, longest: int = _BRIEF) -> str:
        """The start of a text that quotes the answer, without secrets."""
        return cut(text, self._redact, longest)

    def usual_id(self) -> str | int | None:
        """An id where servers usually put it; the whole body where that is a plain text or number."""
        document = self.document
        found = document if isinstance(document, (str, int)) else None
        if isinstance(document, dict):
            candidates = (document.get(name) for name in _USUAL_IDS)
            found = next(
                (c for c in candidates if isinstance(c, (str, int)) and not isinstance(c, bool)), None
            )
        if isinstance(found, bool) or found is None:
            return None
        return found if isinstance(found, int) else str(self.brief(found))


def _alone(error: AnswerError) -> AnswerError:
    """The error without its traceback and context, whose frames hold the body and its text.

    Kept with them, an answer would be part of a cycle, and its memory be used until Python looks for those.
    """
    return AnswerError(error.message, **error.data)


def brief(value: Any, redact: Redact = str) -> Any:
    """A status, progress or id that is small enough to be kept.

    Plain values stay as they are; of anything else it is the start of its JSON, of a Decimal its digits.

    :param redact: takes secrets out of what is too long, before it is cut.
    """
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and abs(value) < 10**_BRIEF:
        return value
    try:
        text = value if isinstance(value, str) else json_text(value, spaced=True)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"  # nested too deep
    if len(text) > _BRIEF:
        text = cut(text, redact, _BRIEF)
    return text.encode("utf-8", "replace").decode()


def find_in(reading: Reading, path: str) -> Any:
    """The value at a path of the body, or of a header as ``headers.Name``; MISSING for none.

    :raises OriginError: for a ``Location`` (which comes absolute) that is no URL.
    """
    if path.startswith(_HEADER_PREFIX):
        name = path.removeprefix(_HEADER_PREFIX)
        value = reading.response.headers.get(name)
        if value is None:
            return MISSING
        return resolve(value, reading.response.url) if name.lower() in _LINKS else value
    return compile_path(path).find(reading.document_for(path))


def _taken(reading: Reading, path: str, take: Callable[[str, Any], Any]) -> Any:
    """As :func:`find_in`, by one of the rules for what a path takes."""
    if path.startswith(_HEADER_PREFIX):
        return find_in(reading, path)
    return take(path, reading.document_for(path))


def items_in(reading: Reading, path: str) -> Any:
    """What a path adds to a list of items, see :func:`find_items`."""
    return _taken(reading, path, find_items)


def find_all_in(reading: Reading, path: str) -> list[Any]:
    """Each value that a path of the body, or ``headers.Name``, matches.

    :raises OriginError: as :func:`find_in`.
    """
    if path.startswith(_HEADER_PREFIX):
        found = find_in(reading, path)
        return [] if found is MISSING else [found]
    if is_xpath(path) or reading.has_json:
        return compile_path(path).find_all(reading.document_for(path))
    return []


def read_status(reading: Reading, job: AsyncJob, words: StatusWords) -> tuple[Any, Verdict | None]:
    """Return the status in a response and what it means; MISSING and None if there is no status."""
    first, *others = job.status_paths
    status = find_in(reading, first)
    if status is not MISSING and not is_blank(status):
        return status, words.verdict(status)
    for path in others:
        found = find_in(reading, path)
        if found is not MISSING and not is_blank(found) and words.knows(found):
            return found, words.verdict(found)
    return (MISSING, None) if status is MISSING else (status, words.verdict(status))


def result_of(reading: Reading, parameter: str, path: str | None) -> Any:
    """The result that an answer holds: its JSON, else its text; of that, the part at ``path``.

    :raises AnswerError: where the answer is not what it says, or has nothing at the path.
    """
    if path is not None:
        if not is_xpath(path):
            reading.require_json_if_said()
        found = _taken(reading, path, find_result)
        if found is MISSING:
            raise reading.error(parameter, path)
        return found
    return reading.value()
