"""Directives of the reference: tables that are made from the code, so that they cannot differ from it.

``.. parameters:: path.of.Class``
    What its docstring says, and a table of its parameters.
``.. connection-fields::``
    A table for each section of the connection form, from ``provider.yaml``.
``.. configuration::``
    The options of Airflow's configuration, from ``provider.yaml``.
``.. job-life::``
    A picture of the phases of a job, and the ways between them.
``.. retried::``
    The errors, and whether Airflow's retries apply to them.
``.. commands::``
    The commands of ``airflow apitask``, with the help that they print.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from job_life import svg
from parameters import connection_fields, described, errors, escaped, load, options, parameters_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class _Generated(SphinxDirective):
    """Parses reStructuredText that it makes itself."""

    def run(self) -> list[nodes.Node]:
        lines = StringList(list(self.lines()), source=f"<{self.name}>")
        node = nodes.container()
        node.document = self.state.document
        self.state.nested_parse(lines, self.content_offset, node, match_titles=True)
        return node.children

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class Parameters(_Generated):
    """The parameters of a class or function."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        documented = load(self.arguments[0])
        text, _, others = described(documented)
        yield from (*text.splitlines(), "")
        rows = [
            (
                f":apitask-parameter:`{documented.__name__}.{parameter.name}`",
                _literal(parameter.type) if "|" in parameter.type else parameter.type,
                _literal(parameter.default),
                "yes" if parameter.templated else "",
                parameter.meaning,
            )
            for parameter in parameters_of(documented)
        ]
        yield from _table(("name", "type", "default", "templated", "meaning"), rows)
        yield from (*others, "")


class ConnectionFields(_Generated):
    """The fields of the connection form."""

    def lines(self) -> Iterator[str]:
        for section, fields in connection_fields().items():
            yield from (f".. rubric:: {section}", "")
            rows = [
                (f"``{f.name}``", f.label, _literal(f.type), _literal(f.default), f.meaning) for f in fields
            ]
            head = ("name", "in the form", "type", "default", "meaning")
            yield from _table(head, rows)


class Configuration(_Generated):
    """The options of Airflow's configuration."""

    def lines(self) -> Iterator[str]:
        found = list(options())
        if not found:
            yield "There are none yet."
        else:
            rows = [
                (f"``[{o.section}] {o.name}``", _literal(o.type), _literal(o.default), o.meaning)
                for o in found
            ]
            yield from _table(("option", "type", "default", "meaning"), rows)


class Commands(_Generated):
    """The commands of ``airflow apitask``."""

    def lines(self) -> Iterator[str]:
        from airflow_provider_apitask.get_provider_info import get_provider_info

        info: dict[str, Any] = get_provider_info()
        for path in info.get("cli", []):
            module, _, name = path.rpartition(".")
            for command in getattr(importlib.import_module(module), name)():
                yield from _command(command, ["airflow"])


class JobLife(SphinxDirective):
    """The picture of a job's life, in the page itself, so that the page's style reaches it."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", svg(), format="html")]


class Retried(_Generated):
    """The errors, and whether Airflow's retries apply to them."""

    def lines(self) -> Iterator[str]:
        rows = [
            (f":class:`~{error.__module__}.{error.__name__}`", "yes" if error.retryable else "no", summary)
            for error, summary in errors()
        ]
        yield from _table(("class", "retried", "meaning"), rows)


def _command(command: Any, above: Sequence[str]) -> Iterator[str]:
    words = [*above, command.name]
    for below in getattr(command, "subcommands", ()):
        yield from _command(below, words)
    if not hasattr(command, "args"):
        return
    yield from (f".. rubric:: ``{' '.join(words)}``", "", escaped(str(command.help)), "")
    if command.description:
        yield from (escaped(" ".join(str(command.description).split())), "")
    rows = [
        (
            " ".join(f"``{flag}``" for flag in arg.flags),
            _literal(str(arg.kwargs["default"])) if arg.kwargs.get("default") is not None else "",
            escaped(str(arg.kwargs.get("help", ""))),
        )
        for arg in command.args
    ]
    yield from _table(("argument", "default", "meaning"), rows)


def _literal(text: str) -> str:
    return f"``{text}``" if text else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: auto")
    yield from ("   :class: reference", "")
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f"   {'*' if index == 0 else ' '} - {' '.join(cell.split())}".rstrip()
    yield ""


def _parameter_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """A parameter's name with an anchor of its own: ``reference.html#AsyncJob.deadline``."""
    node = nodes.literal(text.rpartition(".")[2], text.rpartition(".")[2], ids=[text])
    return [node], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directives known to Sphinx."""
    app.add_directive("parameters", Parameters)
    app.add_directive("connection-fields", ConnectionFields)
    app.add_directive("configuration", Configuration)
    app.add_directive("commands", Commands)
    app.add_directive("retried", Retried)
    app.add_directive("job-life", JobLife)
    app.add_role("apitask-parameter", _parameter_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
