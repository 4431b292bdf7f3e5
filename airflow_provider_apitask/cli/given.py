"""A call that is given by options or a file, as parameters of an ``ApiCallOperator``."""

from __future__ import annotations

import inspect
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_apitask.cli.failures import CommandError

__all__ = ["call_parameters", "json_of", "text_of"]

#: Options with a value that is taken as it is, and the parameters they stand for.
_PLAIN = {
    "conn_id": "api_conn_id",
    "method": "method",
    "endpoint": "endpoint",
    "body_format": "body_format",
    "mode": "mode",
    "response_path": "response_path",
    "timeout": "timeout",
    "require_csrf_token": "require_csrf_token",
}


def call_parameters(args: Namespace) -> dict[str, Any]:
    """The parameters of the operator that options and file give; options win.

    :raises CommandError: naming the option that is wrong.
    """
    given = _of_file(args.file) if args.file is not None else {}
    plain = {name: getattr(args, option) for option, name in _PLAIN.items()}
    given.update({name: value for name, value in plain.items() if value is not None})
    for option, name in (("param", "query_params"), ("header", "headers")):
        if pairs := getattr(args, option):
            given[name] = {**(given.get(name) or {}), **_pairs(pairs, f"--{option}")}
    if args.validation is not None:
        given["response_validation"] = json_of(args.validation, "--validation")
    if args.job is not None:
        given["job"] = _job(args.job)
    if args.body is not None:
        is_json = str(given.get("body_format") or "json").lower() == "json"
        given["body"] = json_of(args.body, "--body") if is_json else text_of(args.body, "--body")
    return given


def text_of(value: str, option: str) -> str:
    """A text, that of a file for ``@FILE``, standard input for ``@-``.

    :raises CommandError: naming the option.
    """
    if not value.startswith("@"):
        return value
    try:
        return sys.stdin.read() if value == "@-" else Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{option}: {value[1:]} cannot be read: {error}.") from None


def json_of(value: str, option: str) -> Any:
    """JSON, from where :func:`text_of` takes it.

    :raises CommandError: naming the option; the text, which may hold a secret, is not in it.
    """
    try:
        return json.loads(text_of(value, option))
    except ValueError as error:
        hint = " Other text needs --body-format raw." if option == "--body" else ""
        raise CommandError(f"{option} is no JSON: {error}.{hint}") from None


def _pairs(given: Iterable[str], option: str) -> dict[str, Any]:
    """Names and values; a name that comes twice has a list."""
    found: dict[str, list[str]] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"{option} must be NAME=VALUE.")
        found.setdefault(name, []).append(value)
    return {name: values if values[1:] else values[0] for name, values in found.items()}


def _job(value: str) -> Any:
    from airflow_provider_apitask import jobs
    from airflow_provider_apitask.core.job import AsyncJob

    if value.isidentifier():
        named = {name: job for name, job in vars(jobs).items() if isinstance(job, AsyncJob)}
        if value not in named:
            raise CommandError(f"--job: there is no {value}; there are {', '.join(sorted(named))}.")
        return named[value]
    return json_of(value, "--job")


def _of_file(path: str) -> dict[str, Any]:
    import yaml

    from airflow_provider_apitask.operators.api_call import ApiCallOperator

    try:
        # JSON is YAML.
        found = yaml.safe_load(text_of(f"@{path}", "--file"))
    except yaml.YAMLError as error:
        raise CommandError(f"--file: {path} is neither YAML nor JSON: {error}.") from None
    if not isinstance(found, Mapping):
        raise CommandError(f"--file: {path} must hold parameters by their names, not {type(found).__name__}.")
    own = inspect.signature(ApiCallOperator.__init__).parameters
    given = {str(name): value for name, value in found.items()}
    if "params" in given:
        given["query_params"] = given.pop("params")
    unknown = sorted(name for name in given if name not in own or name in ("self", "kwargs"))
    if unknown:
        raise CommandError(f"--file: an ApiCallOperator has no parameter {', '.join(unknown)}.")
    return given
