"""Numbers keep their digits, from an answer to whatever is made of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_apitask.core.answers import Reading, brief
from airflow_provider_apitask.core.bodies import parse_json
from airflow_provider_apitask.core.errors import AnswerError, ParameterError
from airflow_provider_apitask.core.exact_json import json_pieces, json_text
from airflow_provider_apitask.core.field_checks import FieldCheck
from airflow_provider_apitask.core.handle import handle_of, read_handle
from airflow_provider_apitask.core.messages import Purpose, Request
from airflow_provider_apitask.core.portable import as_carried, pack, unpack
from airflow_provider_apitask.core.request_spec import RequestSpec
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.status import fold
from airflow_provider_apitask.core.validation import ResponseValidation

from .helpers import BASE, Driven, make_api, make_call, make_job, make_response

#: What JSON calls a number (RFC 8259 §6), of any length that is read.
_NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.17g}"),
    st.sampled_from(
        ["0.10000000000000001", "1e400", "-1E-400", "5e-324", "2e-324", "0e999999999", "-0.0", "1" * 4000,
         "0." + "1" * 4000, "9007199254740993.0", "1.7976931348623159e308", "1E+4299"]
    ),
)  # fmt: skip


def _read(number: str) -> Any:
    return parse_json(make_response(200, f'{{"n": {number}}}'.encode()))["n"]


def _in_json(text: str) -> list[Decimal]:
    read: list[Decimal] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return read


@given(_NUMBERS)
def test_a_number_is_in_the_next_request_what_it_was_in_the_answer(number: str) -> None:
    found = _read(number)
    spec = RequestSpec(
        method="POST",
        endpoint="/x/{n}",
        headers={"X-N": "{n}"},
        params={"n": "{n}"},
        body=["{n}", {"deep": ["{all}"]}],
    )
    request = make_api().build(
        spec.checked(), Purpose.RESULT, lookup={"n": found, "all": {"n": found}}.__getitem__
    )
    exact = Decimal(number)
    body = request.body
    assert isinstance(body, bytes)
    assert json.loads(body, parse_float=Decimal, parse_int=Decimal) == [exact, {"deep": [{"n": exact}]}]
    path, _, query = request.url.partition("?n=")
    assert Decimal(path.rpartition("/")[2].replace("%2B", "+")) == exact
    assert Decimal(query.replace("%2B", "+")) == exact
    assert Decimal(request.headers.get("X-N") or "") == exact


@given(_NUMBERS)
def test_only_a_number_that_a_double_cannot_hold_is_a_decimal(number: str) -> None:
    found = _read(number)
    if isinstance(found, Decimal):
        assert Decimal(repr(float(number))) != found or abs(float(number)) == float("inf")
    assert isinstance(found, (int, float, Decimal))
    assert Decimal(repr(found) if isinstance(found, float) else found) == Decimal(number)


@given(st.lists(_NUMBERS))
def test_a_list_is_written_with_the_digits_of_each(numbers: list[str]) -> None:
    value = [_read(number) for number in numbers]
    exact = [Decimal(number) for number in numbers]
    assert _in_json(json_text(value)) == _in_json(json_text(value, spaced=True)) == exact
    assert _in_json("".join(json_pieces(value, str))) == exact


@given(st.recursive(_NUMBERS.map(_read), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["a", "$number", ""]), inner
), max_leaves=6))  # fmt: skip
def test_what_a_later_request_needs_crosses_processes(value: Any) -> None:
    state = State(values={"v": value}, job_id=2**70, progress=value)
    record = state.to_dict()
    assert _portable(record)
    again = State.from_dict(json.loads(json.dumps(record)))
    assert again == state
    assert json_text(again.values) == json_text(state.values)
    handle = handle_of(state, "api")
    assert _portable(handle)
    assert read_handle(json.loads(json.dumps(handle))).values == state.values


@given(_NUMBERS)
def test_what_xcom_is_given_it_can_hold(number: str) -> None:
    found = _read(number)
    carried, text = as_carried({"rows": [found]})
    [item] = carried["rows"]
    if isinstance(item, Decimal):  # Airflow sends it as a whole number
        assert item == int(item) == Decimal(number)
        item = int(item)
    assert _portable(item)
    assert (text is None) == (not isinstance(item, str))
    if isinstance(item, str):
        assert Decimal(item) == Decimal(number)
    else:
        assert item == float(number) or item == found


def _portable(value: Any) -> bool:
    """Whether it is made of what msgpack and JSON both have, without a loss."""
    if isinstance(value, dict):
        return all(map(_portable, value.values()))
    if isinstance(value, list):
        return all(map(_portable, value))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, (str, float))


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        (1.5, 1.5),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (Decimal("12345678901234567.89"), "12345678901234567.89"),
        (Decimal("0.10000000000000001"), 0.1),
        (Decimal("0.1000000000000000055511151231257827"), 0.1),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("1.10"), Decimal("1.10")),  # an author's, which Airflow gives back as it was
        (Decimal(10) ** 19, 1e19),
        (Decimal("NaN"), Decimal("NaN")),
        ({"a": [(2**64,)]}, {"a": [["18446744073709551616"]]}),
    ],
)
def test_as_carried(given: Any, carried: Any) -> None:
    found, _ = as_carried(given)
    assert (repr(found), type(found)) == (repr(carried), type(carried))


def test_what_needs_no_change_is_not_copied() -> None:
    value = {"rows": [{"a": 1, "b": [1.5, "x", None]}] * 3}
    assert as_carried(value) == (value, None)
    assert as_carried(value)[0] is value


@pytest.mark.parametrize(
    "number", ["1e4400", "-1e-4400", "1e999999999", "1e-999999999", "1e9999999999999999999"]
)
def test_beyond_all_bounds_is_refused(number: str) -> None:
    with pytest.raises(AnswerError, match=rf"the number {number[:20]} is out of range"):
        _read(number)


def test_a_number_of_millions_of_digits_is_refused() -> None:
    with pytest.raises(AnswerError, match="a number of 5000002 digits is not read, 4300 are"):
        _read("0." + "1" * 5_000_000)


@pytest.mark.parametrize("kept", ["x", "1e999999999", "1" * 5000, 5, None, [1]])
def test_a_kept_number_that_is_none_is_refused(kept: Any) -> None:
    with pytest.raises(ParameterError, match="cannot be read"):
        unpack({"v": [{"$number": kept}]})


def test_an_object_that_looks_like_a_kept_number_stays_one() -> None:
    for value in ({"$number": "1"}, {"$number": {"$number": 2**70}}, {"$number": {"a": 1}}, {"$number": {}}):
        assert unpack(json.loads(json.dumps(pack(value)))) == value


# -- what is made of it --------------------------------------------------------------------------

_ASKED = Request(Purpose.SUBMIT, "POST", f"{BASE}/jobs")
_BODY = b'{"amount": 12345678901234567.89, "double": 0.10000000000000001, "tiny": 1e-400, "big": 1e400}'


def _broken(**rules: Any) -> list[str]:
    reading = Reading(_ASKED, make_response(200, _BODY), str)
    return [violation.rule for violation in ResponseValidation(**rules).compiled().check(reading)]


@pytest.mark.parametrize(
    ("path", "check", "holds"),
    [
        ("amount", {"value": Decimal("12345678901234567.89")}, True),
        ("amount", {"value": Decimal("12345678901234567.88")}, False),
        ("amount", {"min": Decimal("12345678901234567.89"), "max": "12345678901234567.89"}, True),
        ("amount", {"max": Decimal("12345678901234567.88")}, False),
        ("amount", {"type": "number"}, True),
        ("amount", {"type": "integer"}, False),
        ("big", {"type": "integer", "min": 10**400, "max": 10**400}, True),
        ("tiny", {"min": 0, "value": 0}, False),
        # An author's float is a double, and so is what a server writes with 17 digits.
        ("double", {"value": 0.1}, True),
        ("double", {"one_of": [0.1], "min": 0.1, "max": 0.1}, True),
        ("double", {"value": Decimal("0.1")}, False),
    ],
)
def test_field_checks(path: str, check: dict[str, Any], holds: bool) -> None:
    assert (_broken(field_checks={path: check}) == []) == holds
    json_text(FieldCheck.parse(check, "check").to_dict())


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"$.amount": Decimal("12345678901234567.89")}, True),
        ({"$.amount": "12345678901234567.89"}, True),
        ({"$.amount": 12345678901234567.89}, True),  # a double, as a float is
        ({"$.amount": 12345678901234560.0}, False),
        ({"$.amount": {"min": Decimal("12345678901234567.88")}}, True),
        ({"$.big": 10**400}, True),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    assert (_broken(success_when=condition) == []) == holds


@pytest.mark.parametrize(
    ("schema", "holds"),
    [
        ({"type": "number", "const": Decimal("12345678901234567.89")}, True),
        ({"type": "number", "multipleOf": 0.01}, True),
        ({"type": "integer"}, False),
        ({"maximum": Decimal("12345678901234567.88")}, False),
        ({"enum": [1, Decimal("12345678901234567.89")]}, True),
    ],
)
def test_json_schema(schema: dict[str, Any], holds: bool) -> None:
    assert (_broken(json_schema={"properties": {"amount": schema}}) == []) == holds


def test_a_schema_has_whole_numbers_as_json_has_them() -> None:
    assert _broken(json_schema={"properties": {"big": {"type": "integer"}, "tiny": {"type": "integer"}}}) == [
        "json_schema.type"
    ]


def test_a_violation_quotes_the_digits() -> None:
    reading = Reading(_ASKED, make_response(200, _BODY), str)
    [found] = ResponseValidation(field_checks={"$": {"type": "array"}}).check(reading)
    assert '"amount": 12345678901234567.89, "double": 0.10000000000000001' in found.found


def test_status_progress_and_ids_are_the_digits() -> None:
    assert brief(Decimal("12345678901234567.89")) == "12345678901234567.89"
    assert brief({"n": Decimal("12345678901234567.89")}) == '{"n": 12345678901234567.89}'
    assert fold(Decimal("1E+20")) == fold(10**20) == "100000000000000000000"
    assert fold(Decimal("0.12345678901234567890")) == "0.12345678901234567890"
    assert fold(Decimal("1E+999999999")) == "1e+999999999"


def test_a_status_of_many_digits_is_a_word() -> None:
    job = make_job(status_path="$.code", success_values=[Decimal("2.00000000000000000001")])
    driven = Driven(make_call(job=job))
    driven.answer(202, headers={"Location": "/jobs/7"})
    driven.answer(200, b'{"code": 2.00000000000000000001}')
    assert (driven.phase, driven.state.status) == (Phase.FETCH, "2.00000000000000000001")


def test_what_holds_itself_ends() -> None:
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(RecursionError):
        as_carried(value)


@pytest.mark.parametrize(("levels", "is_kept"), [(100, True), (101, False), (900, False)])
def test_what_is_nested_too_deep_to_be_kept_is_refused_at_once(levels: int, is_kept: bool) -> None:
    body = b'{"a":' * (levels - 1) + b"[1]" + b"}" * (levels - 1)
    reading = Reading(_ASKED, make_response(200, b'{"v": ' + body + b"}"), str)
    if not is_kept:
        with pytest.raises(AnswerError, match="a value that cannot be kept"):
            reading.values({"v": "$.v"}, [])
        return
    state = State(values=reading.values({"v": "$.v"}, []))
    assert State.from_dict(state.to_dict()) == state


def test_a_kept_value_of_any_depth_ends_in_an_error() -> None:
    value: Any = 1
    for _ in range(300):
        value = [value]
    with pytest.raises(ParameterError, match="nested too deep"):
        State.from_dict({"version": 1, "phase": "poll", "values": {"v": value}})
