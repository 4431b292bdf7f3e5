"""How a test run is shown: as JSON, as plain lines, or with colours and a clock on a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from airflow_provider_apitask.core.exact_json import json_text
from airflow_provider_apitask.core.visible import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["JsonView", "PlainView", "RichView", "Step", "View", "view_of"]

#: How a kind of step begins, and its style on a terminal.
_LOOK = {
    "request": ("→ ", "cyan"),
    "answer": ("← ", "default"),
    "error": ("← ", "red"),
    "event": ("  ", "bold"),
    "note": ("  ", "dim"),
    "success": ("", "bold green"),
    "failure": ("", "bold red"),
    "cancelled": ("", "bold yellow"),
}


@dataclass(frozen=True)
class Step:
    """Something to show, without secrets.

    :param kind: one of those of ``_LOOK``.
    :param text: for people.
    :param data: for programs: JSON.
    :param more: further lines for people, such as header fields.
    :param check: whether it is part of a status check.
    :param same: whether that answered what the one before did.
    """

    kind: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    check: bool = False
    same: bool = False


class View(AbstractContextManager["View"]):
    """Shows one test run.

    :param out: where to.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun

    def watch(self, now: Callable[[], str]) -> None:
        """Show where the run stands, too, for a view that can."""

    def show(self, step: Step) -> None:
        """Show a step."""
        raise NotImplementedError

    def result(self, value: Any) -> None:
        """Show the result, without secrets."""
        raise NotImplementedError


class JsonView(View):
    """One object per line."""

    def show(self, step: Step) -> None:
        """Write an object."""
        self._write({"kind": step.kind, "elapsed": round(self.elapsed, 3), "message": step.text, **step.data})

    def result(self, value: Any) -> None:
        """Write the result as an object of its own."""
        self._write({"kind": "result", "elapsed": round(self.elapsed, 3), "value": value})

    def _write(self, record: dict[str, Any]) -> None:
        # Escaped as JSON escapes it, so that a program reads the same value.
        self._out.write(visible(json_text(record, spaced=True, default=str)) + "\n")
        self._out.flush()


class PlainView(View):
    """Lines with the seconds since the run began."""

    def show(self, step: Step) -> None:
        """Write a line, and those with more."""
        mark, _ = _LOOK[step.kind]
        self._out.write(f"{self.elapsed:8.2f} s  {mark}{step.text}\n")
        for line in step.more:
            self._out.write(f"{'':14}{line}\n")
        self._out.flush()

    def result(self, value: Any) -> None:
        """Write the result as JSON, a text as it is."""
        self._out.write(_pretty(value) + "\n")
        self._out.flush()


class RichView(View):
    """The same lines in colour, over one that says what is going on.

    A check that answers what the one before did is counted there, and has no lines of its own.
    """

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(out)
        # What servers send is no markup.
        self._console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
        self._now: Callable[[], str] = lambda: ""
        self._held: Step | None = None
        self._live = Live(
            console=self._console,
            get_renderable=self._status,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def watch(self, now: Callable[[], str]) -> None:
        """Show where the run stands below the lines."""
        self._now = now

    def show(self, step: Step) -> None:
        """Print a line above the status."""
        if step.check and step.kind == "request":
            self._held = step
            return
        held, self._held = self._held, None
        if step.same:
            return
        for each in (held, step):
            if each is not None:
                self._print(each)

    def _print(self, step: Step) -> None:
        from rich.text import Text

        mark, style = _LOOK[step.kind]
        line = Text()
        line.append(f"{self.elapsed:8.2f} s  ", style="dim")
        line.append(f"{mark}{step.text}", style=style)
        self._console.print(line)
        for more in step.more:
            self._console.print(Text(f"{'':14}{more}", style="dim"))

    def result(self, value: Any) -> None:
        """Print the result, JSON in colour."""
        from rich.highlighter import JSONHighlighter

        self._live.stop()
        text = _pretty(value)
        if isinstance(value, (dict, list)) and len(text) < 100_000:
            self._console.print(JSONHighlighter()(text))
        else:
            self._console.print(text)

    def _status(self) -> RenderableType:
        from rich.spinner import Spinner

        if not hasattr(self, "_spinner"):
            self._spinner = Spinner("dots")
        self._spinner.update(text=f"{self.elapsed:6.1f} s  {self._now()}")
        return self._spinner


def view_of(out: IO[str], as_json: bool) -> View:
    """The view that fits: rich where there is a terminal."""
    if as_json:
        return JsonView(out)
    return RichView(out) if out.isatty() else PlainView(out)


def _pretty(value: Any) -> str:
    if isinstance(value, str):
        return visible_lines(value)
    try:
        return visible_lines(json.dumps(value, indent=2, ensure_ascii=False))
    except (TypeError, ValueError):  # a number that no float holds, or what a filter has made
        return visible_lines(json_text(value, spaced=True, default=str))
