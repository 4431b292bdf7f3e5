"""``python -m demo``: boots pygeoapi and Airflow, runs the example DAG, tells what happened, stops all."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.airflow_service import StandaloneAirflow
from demo.processes import DemoError, ServiceError, Services, require_free_port, stop_signals_raise
from demo.pygeoapi_service import PygeoapiService
from demo.story import DAG_ID, RESULT_TASK, Story

__all__ = ["main"]

EXAMPLE_DAGS = Path(__file__).resolve().parent.parent / "example_dags"
INTERRUPTED = 130  # As a shell reports a program that Ctrl-C has ended.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0 for success, 1 for any failure, 130 after Ctrl-C."""
    options = _options(arguments)
    # No wrapping, no highlighting: the output is read in terminals and in the logs of build servers.
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        with stop_signals_raise():
            return _Demo(options, console).run()
    except DemoError as error:
        console.print(f"FAILED: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.", style="yellow")
        return INTERRUPTED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Start pygeoapi (an asynchronous API) and Airflow on this machine, run the example DAG, "
        "show what happens, and stop everything.",
    )
    parser.add_argument("--keep", action="store_true", help="leave Airflow's web UI running until Ctrl-C")
    parser.add_argument("--seconds", type=_seconds, default=8.0, help="how long the remote job works (8)")
    parser.add_argument("--port", type=_port, default=0, help="of Airflow's web UI (any free port)")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=240.0,
        help="longest time in seconds for the boot, and for the run besides the job (240)",
    )
    parser.add_argument("--fail", action="store_true", help="let the remote job fail")
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return seconds


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


class _Demo:
    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self._start = time.monotonic()

    def run(self) -> int:
        if self._options.port:
            require_free_port(self._options.port, "Airflow")
        folder = Path(tempfile.mkdtemp(prefix="apitask-demo-"))
        try:
            with Services(scrap=folder) as services:
                succeeded = self._with(services, folder)
        except ServiceError:
            self._console.print(f"The logs are kept in {folder}")
            raise
        self._say(f"stopped everything; the demo took {time.monotonic() - self._start:.1f} s")
        return 0 if succeeded else 1

    def _with(self, services: Services, folder: Path) -> bool:
        pygeoapi = PygeoapiService(services, folder / "pygeoapi")
        airflow = StandaloneAirflow(
            services, folder / "airflow", EXAMPLE_DAGS, port=self._options.port, env=pygeoapi.connection
        )
        self._boot(pygeoapi, airflow)
        succeeded = self._run_dag(pygeoapi, airflow)
        if self._options.keep:
            self._keep(airflow)
        return succeeded

    def _boot(self, pygeoapi: PygeoapiService, airflow: StandaloneAirflow) -> None:
        with self._console.status("starting pygeoapi and Airflow"):
            pygeoapi.launch()
            airflow.launch()
            pygeoapi.wait_ready(self._options.timeout)
            self._say(f"pygeoapi is up after {pygeoapi.boot_seconds:.1f} s: {pygeoapi.url}")
            airflow.wait_ready(self._options.timeout)
            airflow.api.wait_for_dag(DAG_ID, self._options.timeout)
            self._say(f"Airflow is up after {airflow.boot_seconds:.1f} s: {airflow.url}")
            airflow.api.unpause(DAG_ID)

    def _run_dag(self, pygeoapi: PygeoapiService, airflow: StandaloneAirflow) -> bool:
        conf = {"seconds": self._options.seconds, "fail": self._options.fail}
        with self._console.status("triggering the DAG") as status:
            story = Story(airflow, pygeoapi, self._say, status.update)
            succeeded = story.run(conf, self._options.timeout + self._options.seconds)
        self._show(story, pygeoapi, airflow)
        if succeeded:
            text = f"SUCCESS: the task {RESULT_TASK} made of the job's result: {story.result()!r}"
            self._console.print(text, style="green")
        else:
            self._console.print(f"FAILED: {story.failure()}", style="red")
        return succeeded

    def _show(self, story: Story, pygeoapi: PygeoapiService, airflow: StandaloneAirflow) -> None:
        moments = story.timeline()
        table = Table("seconds", "what happened", "who says so", title="Timeline", title_justify="left")
        for moment in moments:
            seconds = (moment.when - moments[0].when).total_seconds()
            table.add_row(f"{seconds:7.2f}", moment.what, moment.source)
        self._console.print(table)
        boot = f"boot: pygeoapi {pygeoapi.boot_seconds:.1f} s, Airflow {airflow.boot_seconds:.1f} s"
        self._console.print("; ".join([boot, *story.figures()]))

    def _keep(self, airflow: StandaloneAirflow) -> None:
        self._console.print(
            f"Airflow's web UI: {airflow.url}  user: {airflow.user}  password: {airflow.password}\n"
            "Ctrl-C stops everything.",
            style="bold",
        )
        try:
            while True:
                airflow.require_alive()
                time.sleep(1)
        except KeyboardInterrupt:  # The end we asked for, so the exit code is the run's.
            self._say("stopping")

    def _say(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:6.1f} s  {line}")


if __name__ == "__main__":
    sys.exit(main())
