"""``airflow apitask test-run``: one call, run alone, each step shown."""

from __future__ import annotations

import logging
import signal
import sys
from argparse import Namespace
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_apitask.cli.failures import CANCELLED, FAILED, SUCCEEDED, UNUSABLE, CommandError
from airflow_provider_apitask.cli.given import call_parameters, json_of
from airflow_provider_apitask.cli.output import prepared_output, quiet
from airflow_provider_apitask.cli.running import Running
from airflow_provider_apitask.cli.views import Step, View, view_of
from airflow_provider_apitask.core.durable import as_waiting, may_run
from airflow_provider_apitask.core.errors import ApiTaskError, ParameterError, UnknownStatusError
from airflow_provider_apitask.core.messages import Purpose
from airflow_provider_apitask.core.state import Phase, State
from airflow_provider_apitask.core.turn import job_name

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

    from airflow_provider_apitask.cli.stand_in import RunOf

__all__ = ["test_run"]


def test_run(args: Namespace) -> None:
    """Run the command, and end the process with its exit code."""
    out = prepared_output()
    try:
        dag, task, identity = _wanted(args)
        code = _run(args, view_of(out, args.json), dag, task, identity)
    except CommandError as error:
        sys.stderr.write(f"airflow apitask test-run: {error}\n")
        code = error.code
    except KeyboardInterrupt:  # before anything was sent
        code = CANCELLED
    sys.exit(code)


def _wanted(args: Namespace) -> tuple[DAG, Any, list[Any]]:
    """The task to run, and what tells its call from another.

    :raises CommandError: where the arguments do not say it.
    """
    from airflow_provider_apitask.cli.dags import dag_of_call, find_dag, find_task

    given = call_parameters(args)
    if args.dag_id is None and args.task_id is None:
        if args.endpoint is None and "endpoint" not in given:
            raise CommandError("Say what to run: --dag-id and --task-id, or --endpoint, or --file.")
        for option in ("subdir", "run_id"):
            if getattr(args, option) is not None:
                raise CommandError(f"--{option.replace('_', '-')} is for a task of a DAG.")
        try:
            dag, task = dag_of_call(given)
        except ParameterError as error:
            raise CommandError(error.message) from None
        named = ("api_conn_id", "method", "endpoint", "query_params", "body")
        return dag, task, ["call", *(given.get(name) for name in named)]
    if args.dag_id is None or args.task_id is None:
        raise CommandError("A task is named by both --dag-id and --task-id.")
    if given:
        raise CommandError(
            "A task of a DAG is run as it stands: leave out the options that describe a call "
            f"({', '.join(sorted(given))})."
        )
    dag = find_dag(args.dag_id, args.subdir)
    task = find_task(dag, args.task_id, args.map_index)
    return dag, task, ["task", args.dag_id, args.task_id, args.map_index]


def _run_of(args: Namespace) -> RunOf:
    """The run that the task is to see.

    :raises CommandError: naming the option that is wrong.
    """
    from airflow_provider_apitask.cli.stand_in import RunOf

    at = None
    if args.logical_date is not None:
        from datetime import UTC, datetime

        if args.run_id is not None:
            raise CommandError("--run-id has a logical date of its own: leave out --logical-date.")
        try:
            at = datetime.fromisoformat(args.logical_date)
        except ValueError:
            raise CommandError("--logical-date must be a time such as 2026-01-31T06:00:00+00:00.") from None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    conf = None if args.conf is None else json_of(args.conf, "--conf")
    if not isinstance(conf, dict | None):
        raise CommandError("--conf must be a JSON object.")
    return RunOf(args.run_id, at, conf)


def _run(args: Namespace, view: View, dag: DAG, task: Any, identity: list[Any]) -> int:
    from airflow.configuration import AIRFLOW_HOME

    from airflow_provider_apitask.cli.stand_in import context_of

    context = context_of(dag, task, args.map_index, _run_of(args))
    folder = Path(AIRFLOW_HOME) / "apitask" / "test-runs"

    def told(text: str) -> None:
        view.show(Step("note", text))

    with Running(folder, identity, told) as running, view:
        return _TestRun(view, running, verbose=args.verbose).run(context)


class _TestRun:
    """Runs a task to its end, or cancels its job.

    :param running: knows whether a newer run wants this one to end.
    """

    def __init__(self, view: View, running: Running, *, verbose: bool) -> None:
        from airflow_provider_apitask.cli.steps import Watcher

        self._view = view
        self._running = running
        self._task: Any = None
        self._signalled: int | None = None
        self._watcher = Watcher(view, verbose=verbose, state=self._state)

    def run(self, context: Context) -> int:
        """Run the task and return the exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        self._view.watch(self._watcher.standing)
        try:
            value = self._execute(context)
            _ignore_signals()  # it is over: there is nothing left to end
        except KeyboardInterrupt:
            return self._cancel()
        except CommandError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the task has failed of it
            _ignore_signals()
            return self._failed(error)
        self._view.watch(lambda: "")
        if self._signalled is not None:
            return self._ended("It had succeeded before it could be ended.")
        return self._succeeded(value)

    # -- running ---------------------------------------------------------------------------------

    def _execute(self, context: Context) -> Any:
        import contextvars

        from airflow.sdk.bases.operator import ExecutorSafeguard

        ti: Any = context["ti"]
        self._show("note", f"Test run of {ti.dag_id}.{ti.task_id}, run {ti.run_id}")
        _render(ti, context)
        task = self._task = ti.task
        task._watch = self._watcher
        if hasattr(task, "poke"):
            # A sensor waits here: its ways to wait elsewhere need a scheduler.
            task.deferrable, task.mode = False, "poke"
        safe = contextvars.copy_context()
        safe.run(ExecutorSafeguard.tracker.set, task)
        task.pre_execute(context)
        with _time_limit(task):
            return safe.run(task.execute, context)

    def _state(self) -> State | None:
        run = getattr(self._task, "_current", None)
        operation = getattr(run, "_operation", None) or getattr(self._task, "_operation", None)
        return None if operation is None else operation.state

    def _stop(self, number: int, frame: object) -> None:
        """The process is told to end: at once, but for an answer that tells which job to cancel."""
        first, self._signalled = self._signalled is None, number
        state = self._state()
        under_way = state is not None and state.phase is Phase.SUBMIT and state.intent_at is not None
        if first and under_way:
            self._task._current.end()
            with suppress(RuntimeError):  # this has interrupted the writing of another line
                self._show("note", "The submit is under way: its answer is awaited, to cancel the job.")
            return
        raise KeyboardInterrupt

    # -- how it ends -----------------------------------------------------------------------------

    def _succeeded(self, value: Any) -> int:
        from airflow_provider_apitask.cli.steps import without_secrets

        names = ("response_validation", "response_check")
        if rules := [name for name in names if getattr(self._task, name, None)]:
            self._show("note", f"The answer has passed {' and '.join(rules)}.")
        end = "The result:" if value is not None else "There is no result."
        self._show("success", f"Succeeded after {self._spent}. {end}", outcome="succeeded")
        if value is not None:
            self._view.result(without_secrets(value, self._watcher.redactor))
        return SUCCEEDED

    def _failed(self, error: Exception) -> int:
        if self._signalled is not None:
            return self._ended(_message(error))
        text = self._watcher.redactor.text(_message(error))
        if left := self._left(error):
            text = f"{text.rstrip('.')}. {self._watcher.redactor.text(left)}"
        kind = type(error).__name__
        data: dict[str, Any] = {"outcome": "failed", "error": kind}
        if isinstance(error, ApiTaskError):
            data["data"] = self._watcher.redactor.data(error.data)
        self._show("failure", f"Failed after {self._spent}: {kind}: {text}", **data)
        # Nothing was sent: the call that was given is wrong, and not what came back.
        wrong = isinstance(error, ParameterError) and not self._requests and self._is_given
        return UNUSABLE if wrong else FAILED

    def _left(self, error: Exception) -> str:
        """Cancel a job that may still run after a failure; return what became of it, empty if none runs."""
        run, state = getattr(self._task, "_current", None), self._state()
        # Where its result was requested, it had ended.
        ended = state is None or state.inline or self._watcher.last is Purpose.RESULT
        if state is None or ended or not may_run(state):
            return ""
        running = f"{job_name(state)} may still be running on the server"
        if run is None:
            return f"{running}: a sensor does not cancel."
        if isinstance(error, UnknownStatusError):
            return f"{running}. It was not cancelled, as the unknown status may mean that it has ended."
        try:
            done = run.cancel("failure", as_waiting(state))
        except Exception as failed:  # noqa: BLE001 - the run has failed anyway, and says why the job runs
            return f"{running}: it could not be cancelled ({_message(failed).rstrip('.')})."
        if done is None:
            return f"{running}: there is no job.cancel_request. Cancel it there."
        return _message(done.error) if done.error is not None else ""

    def _cancel(self) -> int:
        """End the job of a run that was interrupted."""
        run, state = getattr(self._task, "_current", None), self._state()
        if run is None:
            return self._ended("A sensor cancels nothing: the job goes on on the server.")
        if self._watcher.under_way is Purpose.SUBMIT:
            return self._ended("The call was not answered: the server may have carried it out.")
        if state is None or not state.phase.waiting:
            phase = Phase.SUBMIT if state is None else state.phase
            return self._ended(_AT_REST.get(phase, "It had ended already."))
        try:
            done = run.cancel("kill")
        except KeyboardInterrupt:
            return self._ended("Ended once more, before the server had answered the cancel request.")
        except Exception as error:  # noqa: BLE001 - the run has ended anyway, and says why the job has not
            return self._ended(f"The job could not be cancelled: {_message(error)}")
        if done is None:
            name = f"Job {state.job_id}" if state.job_id is not None else "The job"
            return self._ended(f"{name} goes on on the server: there is no job.cancel_request.")
        return self._ended(_message(done.error) if done.error is not None else "")

    def _ended(self, text: str) -> int:
        """The end by a signal: of a person, or of a newer test run."""
        text = self._watcher.redactor.text(text)
        by = self._running.ended_by() if self._signalled == signal.SIGTERM else None
        if by is not None:
            why = f"a new test run of the same call (process {by}) ended it."
            self._show("failure", f"Failed after {self._spent}: {why} {text}".rstrip(), outcome="failed")
            return FAILED
        self._show("cancelled", f"Ended after {self._spent}. {text}".rstrip(), outcome="cancelled")
        return CANCELLED

    @property
    def _requests(self) -> int:
        return self._watcher.requests

    @property
    def _is_given(self) -> bool:
        from airflow_provider_apitask.cli.dags import CALL_DAG_ID

        return self._task is not None and self._task.dag_id == CALL_DAG_ID

    @property
    def _spent(self) -> str:
        many = "" if self._requests == 1 else "s"
        return f"{self._view.elapsed:.2f} s and {self._requests} request{many}"

    def _show(self, kind: str, text: str, **data: Any) -> None:
        if "outcome" in data:
            data["requests"] = self._requests
        self._view.show(Step(kind, text, data))


#: Ctrl-C, ``kill``, and a terminal that is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What there is to say of a run that was ended while it did not wait.
_AT_REST = {
    Phase.SUBMIT: "The server has taken nothing.",
    Phase.RECONCILE: "The submit was not answered: the server may have started a job.",
    Phase.FETCH: "The job had succeeded; its result was not fetched.",
    Phase.CANCEL: "The server had not answered the cancel request.",
}


def _message(error: BaseException) -> str:
    return error.message if isinstance(error, ApiTaskError) else str(error) or type(error).__name__


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _render(ti: Any, context: Context) -> None:
    """Render the templates; Airflow logs each failure with its traceback, besides raising it."""
    before = quiet(logging.CRITICAL)
    try:
        ti.render_templates(context)
    except ImportError as error:
        # What asks Airflow's supervisor for something that this process does not have.
        if "SUPERVISOR_COMMS" not in str(error):
            raise
        raise CommandError(
            f"The templates of task {ti.task_id} ask for what only a running task gets, such as the XComs of "
            "a mapped task."
        ) from None
    finally:
        quiet(before)


def _time_limit(task: Any) -> Any:
    if not task.execution_timeout:
        return nullcontext()
    from airflow.sdk.execution_time.timeout import timeout

    return timeout(task.execution_timeout.total_seconds())
