"""Watches a task that is run alone, and tells a view of each step, without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.cli.views import Step, View
from airflow_provider_apitask.core.bodies import decode_text
from airflow_provider_apitask.core.events import Event, EventKind
from airflow_provider_apitask.core.messages import NetworkFailure, Purpose, Request, Response
from airflow_provider_apitask.core.problem import cut, status_line
from airflow_provider_apitask.core.redaction import MASK, Redactor, is_secret_name
from airflow_provider_apitask.hooks.watching import WatchedHook

if TYPE_CHECKING:
    from airflow_provider_apitask.core.api import Api
    from airflow_provider_apitask.core.job import AsyncJob
    from airflow_provider_apitask.core.state import State
    from airflow_provider_apitask.hooks.api import ApiHook

__all__ = ["Watcher", "duration", "without_secrets"]

#: Longest part of a body that is shown, characters: in a line, and where all is to be seen.
_EXCERPT, _BODY = 160, 4000
#: What a request is for, where that is not the call itself.
_PURPOSES = {
    Purpose.POLL: "status",
    Purpose.RESULT: "result",
    Purpose.CANCEL: "cancel",
    Purpose.RECONCILE: "looking the job up",
    Purpose.LOGIN: "login",
    Purpose.CSRF: "CSRF token",
}


class Watcher:
    """Sees what a task does, and has it end at the first check that fails.

    :param view: is told.
    :param verbose: whether header fields and bodies are shown too.
    :param state: where the call stands, None as long as it has not begun.
    """

    def __init__(
        self, view: View, *, verbose: bool = False, state: Callable[[], State | None] = lambda: None
    ) -> None:
        self.requests = 0
        #: What the request that is not answered yet is for.
        self.under_way: Purpose | None = None
        #: What the last request of the call was for, logins aside.
        self.last: Purpose | None = None
        self.redactor = Redactor()
        self._view = view
        self._verbose = verbose
        self._state = state
        #: What the last status check answered.
        self._checked: tuple[int, bytes] | None = None

    # -- what the task asks for ------------------------------------------------------------------

    def hook(self, api_conn_id: str) -> ApiHook:
        """A hook that tells of each request."""
        return WatchedHook(api_conn_id, self, self._opened)

    def job(self, job: AsyncJob) -> AsyncJob:
        """The job without a grace window; whoever ends a test run wants its job to end, whatever it says."""
        return replace(job, status_grace=0, cancel_on=None)

    def _opened(self, api: Api) -> None:
        self.redactor = api.redactor

    # -- what it does --------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Show what the log of the task would tell."""
        if event.kind is EventKind.ENDED:
            return  # it is the error with which the task ends
        self._view.show(Step("event", event.message, {"event": event.kind.value, "data": event.data}))

    def asked(self, request: Request) -> None:
        """Show a request."""
        self.requests += 1
        self.under_way = request.purpose
        if request.purpose.is_of_the_call:
            self.last = request.purpose
        url = self.redactor.url(request.url)
        text = f"{request.method} {url}"
        if (what := _PURPOSES.get(request.purpose)) is not None:
            text += f" ({what})"
        data = {"purpose": request.purpose.value, "method": request.method, "url": url}
        check = request.purpose is Purpose.POLL
        self._view.show(Step("request", text, data, self._more(request), check=check))

    def answered(self, request: Request, came: Response | NetworkFailure, seconds: float) -> None:
        """Show an answer."""
        self.under_way = None
        data: dict[str, Any] = {"purpose": request.purpose.value, "seconds": round(seconds, 4)}
        if isinstance(came, NetworkFailure):
            text = self.redactor.line(f"{came}")
            self._view.show(Step("error", f"{text}, {duration(seconds)}", {**data, "error": text}))
            return
        data |= {"http_status": came.status, "bytes": came.size}
        text = f"{status_line(came)}, {came.size} bytes, {duration(seconds)}"
        if excerpt := self._excerpt(request, came, _EXCERPT):
            text += f": {excerpt}"
        kind = "answer" if came.status < 400 else "error"
        check, same = request.purpose is Purpose.POLL, False
        if check:
            same = self._checked == (came.status, came.body)
            self._checked = (came.status, came.body)
        self._view.show(Step(kind, text, data, self._more(request, came), check=check, same=same))

    def standing(self) -> str:
        """Where the call stands, in a few words."""
        state = self._state()
        if state is None:
            return ""
        parts = [f"job {state.job_id}" if state.job_id is not None else state.phase.value.replace("_", " ")]
        if state.status is not None:
            parts.append(f"status {state.status}")
        if state.polls:
            parts.append(f"{state.polls} check{'' if state.polls == 1 else 's'}")
        wait = (state.next_at or 0) - time.time()
        if wait > 0:
            parts.append(f"next request in {wait:.0f} s")
        return self.redactor.line(", ".join(parts))

    def _more(self, request: Request, answer: Response | None = None) -> tuple[str, ...]:
        """Header fields and body, where all is to be seen; of a login no body, which is all secret."""
        if not self._verbose:
            return ()
        headers = request.headers if answer is None else answer.headers
        lines = [f"{name}: {value}" for name, value in self.redactor.headers(headers)]
        body = request.body if answer is None else None
        if isinstance(body, bytes) and body and request.purpose.is_of_the_call:
            as_answer = Response(200, request.url, request.headers, body)
            lines += cut(decode_text(as_answer), self.redactor.text, _BODY, lines=True).splitlines()
        elif answer is not None and (text := self._excerpt(request, answer, _BODY)):
            lines += text.splitlines()
        return tuple(lines)

    def _excerpt(self, request: Request, answer: Response, longest: int) -> str:
        if not request.purpose.is_of_the_call or not answer.body.strip():
            return ""
        kind = answer.media_type
        if not (kind.startswith("text/") or "json" in kind or "xml" in kind or not kind):
            return kind
        text = decode_text(replace(answer, body=answer.body[: 4 * _BODY]))
        whole = longest > _EXCERPT
        text = text if whole else " ".join(text.split())
        return cut(text, self.redactor.text, longest, lines=whole)


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def without_secrets(value: Any, redactor: Redactor) -> Any:
    """A result as it may be shown: whole, but what is known or named as a secret."""
    if isinstance(value, str):
        return redactor.mask(value)
    if isinstance(value, Mapping):
        return {
            k: MASK if isinstance(part, str) and is_secret_name(str(k)) else without_secrets(part, redactor)
            for k, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(item, redactor) for item in value]
    return value
