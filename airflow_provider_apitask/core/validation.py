"""``response_validation``: the rules of an author for a good answer, and what an answer breaks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from airflow_provider_apitask.core import checks
from airflow_provider_apitask.core.answers import Reading, find_all_in
from airflow_provider_apitask.core.bodies import is_html
from airflow_provider_apitask.core.conditions import (
    STATUS_CODE,
    conditions_as_dicts,
    parse_conditions,
    paths_of,
    which_holds,
)
from airflow_provider_apitask.core.errors import ParameterError
from airflow_provider_apitask.core.extraction import MISSING, check_path, is_xpath
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.json_schema import check_json_schema, compile_schema
from airflow_provider_apitask.core.kinds import Codes, Condition, OneOrMore, Pairs
from airflow_provider_apitask.core.status import Verdict
from airflow_provider_apitask.core.status_codes import code_in, codes_text, parse_codes
from airflow_provider_apitask.core.value_object import ValueObject, compile_paths
from airflow_provider_apitask.core.violations import (
    Violation,
    bounded,
    broken_at,
    quote_at,
    validation_error,
)

__all__ = ["ResponseValidation"]

_DEFAULT_CODES = ("2xx",)
_HEADER_PREFIX = "headers."
#: The first that holds counts: what says that it failed is not believed to have worked.
_VERDICTS = (
    ("failure_when", Verdict.FAILED),
    ("running_when", Verdict.RUNNING),
    ("success_when", Verdict.SUCCEEDED),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ResponseValidation(ValueObject):
    """What a good answer is. Every rule is optional; a plain dict with the same fields will do too.

    A path is a JSONPath (``$.items[*].id``) or a dotted path (``result.id``) into the JSON of the
    body, an XPath (``/job/status``) into its XML, or ``headers.Name``. Where it matches several
    values, each of them is checked.

    :param expected_status_code: codes that are good, one or a list: ``404``, ``"2xx"``,
        ``"200-204"``; by default ``2xx``.
    :param required_fields: paths of what must be there; null is there.
    :param field_checks: path → what is there, see :class:`FieldCheck`:
        ``{"status": {"type": "string", "value": "success"}}``.
    :param json_schema: a JSON Schema for the body; of the draft in its ``$schema``, else 2020-12.
        Nothing is fetched for a ``$ref``.
    :param success_when: condition that means success; where it is given, an answer that meets none
        of the three is not believed. A dict of paths, and ``status_code``, with the value or values
        or checks of each, all of which must hold; or a list of such dicts, of which one must.
        Texts are compared as status words are: without case, ``_``, ``-`` and spaces.
    :param failure_when: the same for failure; goes before the other two.
    :param running_when: the same for a call that is not done yet; goes before ``success_when``.
    """

    _parameter: ClassVar[str] = "response_validation"
    _none_is_default: ClassVar[bool] = True

    expected_status_code: Codes = _DEFAULT_CODES
    required_fields: OneOrMore = None
    field_checks: Pairs = None
    json_schema: Pairs = None
    success_when: Condition = None
    failure_when: Condition = None
    running_when: Condition = None

    def __post_init__(self) -> None:
        """Check every field; those that Jinja still has to render are checked when the task runs."""
        self._take_defaults()
        parameter = "response_validation"
        normal: dict[str, Any] = {
            "expected_status_code": parse_codes(
                self.expected_status_code, f"{parameter}.expected_status_code"
            ),
            "required_fields": _paths(self.required_fields, f"{parameter}.required_fields"),
            "field_checks": _field_checks(self.field_checks, f"{parameter}.field_checks"),
            "json_schema": checks.mapping(self.json_schema, f"{parameter}.json_schema"),
        }
        for name, _ in _VERDICTS:
            normal[name] = parse_conditions(getattr(self, name), f"{parameter}.{name}")
        self._set(normal)

    @classmethod
    def _of(cls, given: dict[str, Any], parameter: str) -> Self:
        try:
            return cls(**given)
        except ParameterError as error:
            raise _renamed(error, parameter) from None

    def _as_json(self, name: str, value: Any) -> Any:
        if name == "field_checks" and isinstance(value, Mapping):
            return {
                path: check.to_dict() if isinstance(check, FieldCheck) else check
                for path, check in value.items()
            }
        return conditions_as_dicts(value) if name in dict(_VERDICTS) else value

    def compiled(self) -> Self:
        """Compile paths, patterns and the schema, so that a wrong one fails before anything is sent.

        :raises ParameterError: naming the field; also for a template that was never rendered.
        """
        for field in fields(self):
            parameter = f"response_validation.{field.name}"
            value = getattr(self, field.name)
            if checks.is_open(value):
                raise ParameterError(
                    f"{parameter} is {checks.shown(value)} still, unrendered.", parameter=parameter
                )
        compile_paths(self._named_paths())
        if self.json_schema is not None:
            compile_schema(self.json_schema, "response_validation.json_schema")
        return self

    def accepts(self, status: int) -> bool:
        """Whether an HTTP code is a good one: one of ``expected_status_code``, by default 2xx."""
        return code_in(status, self.expected_status_code)

    def verdict(self, reading: Reading) -> Verdict | None:
        """How the call went, by the conditions alone.

        :returns: FAILED, RUNNING or SUCCEEDED for the first that holds, in this order; UNKNOWN where
            none does and ``success_when`` is given; None where the conditions say nothing about it.
        """
        for name, verdict in _VERDICTS:
            conditions = getattr(self, name)
            # One failed item is enough for a failure; success is the success of all of them.
            every = verdict is Verdict.SUCCEEDED
            if conditions and which_holds(conditions, reading, every=every) is not None:
                return verdict
        return Verdict.UNKNOWN if self.success_when else None

    def check(self, reading: Reading) -> list[Violation]:
        """All that an answer breaks of the rules; empty for a good answer.

        An answer that ``running_when`` says is not the last one is no good answer: ask for the
        verdict first where the call can be waited for.
        """
        return bounded(self._violations(reading))

    def require(self, reading: Reading) -> None:
        """Refuse an answer that breaks a rule.

        :raises ResponseValidationError: with all the violations.
        """
        if violations := self.check(reading):
            raise validation_error(reading, violations)

    def _violations(self, reading: Reading) -> Iterator[Violation]:
        status = reading.response.status
        if not self.accepts(status):
            expected = codes_text(self.expected_status_code)
            yield Violation("expected_status_code", STATUS_CODE, expected, str(status))
        readable = reading.has_json
        if not readable and self._asks_for_json():
            page = "an HTML page, maybe a login page or a proxy's: " if is_html(reading.response) else ""
            yield Violation("json", "$", "JSON", f"{page}{reading.excerpt}")
        for path in self.required_fields or ():
            if _is_there_to_look(path, readable) and not find_all_in(reading, path):
                yield Violation("required_fields", path, "a value", "nothing")
        for path, check in (self.field_checks or {}).items():
            if _is_there_to_look(path, readable):
                yield from self._of_field(reading, path, check)
        if self.json_schema is not None and readable:
            yield from check_json_schema(self.json_schema, reading, "response_validation.json_schema")
        yield from self._of_verdict(reading)

    def _of_field(self, reading: Reading, path: str, check: FieldCheck) -> Iterator[Violation]:
        values = find_all_in(reading, path)
        if not values and path in (self.required_fields or ()) and not check.absent:
            return  # said already
        for number, found in enumerate(values or [MISSING], 1):
            place = path if len(values) < 2 else f"{path} (match {number} of {len(values)})"
            for broken in check.broken(found):
                yield broken_at(reading, path, found, broken, place)

    def _of_verdict(self, reading: Reading) -> Iterator[Violation]:
        verdict = self.verdict(reading)
        if verdict is None or verdict is Verdict.SUCCEEDED:
            return
        name, expected = {
            Verdict.FAILED: ("failure_when", "no answer that means failure"),
            Verdict.RUNNING: ("running_when", "an answer that is the last one"),
        }.get(verdict, ("success_when", "an answer that means success"))
        found = []
        paths = paths_of(getattr(self, name))
        for path in paths:
            if path == STATUS_CODE:
                found.append(f"{STATUS_CODE} {reading.response.status}")
            else:
                values = find_all_in(reading, path) or [MISSING]
                found.append(f"{path} {quote_at(reading, path, values[0] if len(values) == 1 else values)}")
        yield Violation(name, " and ".join(paths), expected, ", ".join(found))

    def _asks_for_json(self) -> bool:
        """Whether a rule cannot be looked at without a JSON body."""
        if self.json_schema is not None:
            return True
        needed = [
            *(self.required_fields or ()),
            *(self.field_checks or {}),
            *paths_of(self.success_when or []),
        ]
        return any(path != STATUS_CODE and not _is_there_to_look(path, readable=False) for path in needed)

    def _named_paths(self) -> Iterator[tuple[str, str]]:
        for path in self.required_fields or ():
            yield "response_validation.required_fields", path
        for path in self.field_checks or {}:
            yield "response_validation.field_checks", path
        for name, _ in _VERDICTS:
            for path in paths_of(getattr(self, name) or []):
                yield f"response_validation.{name}", path


def _is_there_to_look(path: str, readable: bool) -> bool:
    return readable or path.startswith(_HEADER_PREFIX) or is_xpath(path)


def _paths(value: Any, parameter: str) -> Any:
    if value is None or checks.is_open(value):
        return value
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    paths = list(value) if isinstance(value, (list, tuple)) else [value]
    for path in paths:
        if not checks.is_open(path):
            check_path(path, parameter)
    # A field that is asked for twice is missing once.
    return list(dict.fromkeys(paths)) if all(isinstance(path, str) for path in paths) else paths


def _field_checks(value: Any, parameter: str) -> Any:
    value = checks.mapping(value, parameter)
    if not isinstance(value, Mapping):
        return value
    read: dict[str, Any] = {}
    for path, check in value.items():
        name = f"{parameter}[{path!r}]"
        if not checks.is_open(path):
            check_path(path, name)
        # A FieldCheck is no plain value, which is how what is known later is told.
        is_open = checks.is_open(check) and not isinstance(check, FieldCheck)
        read[path] = check if is_open else FieldCheck.parse(check, name)
    return read


def _renamed(error: ParameterError, parameter: str) -> ParameterError:
    """The error with the name that the author knows the rules by."""
    own = "response_validation"
    return ParameterError(
        error.message.replace(own, parameter, 1),
        parameter=str(error.data.get("parameter", own)).replace(own, parameter, 1),
    )
