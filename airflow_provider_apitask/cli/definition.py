"""What ``airflow apitask`` can do: read by each call of ``airflow``, so nothing else is imported."""

from __future__ import annotations

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

__all__ = ["get_commands"]

_CONN_ID = Arg(("--conn-id",), help="connection of type apitask or http, else api_default", metavar="ID")
_JSON = Arg(("--json",), help="print JSON, one object per line", action="store_true")
_VERBOSE = Arg(("-v", "--verbose"), help="show headers and bodies, without secrets", action="store_true")

_LOG_CONN_ID = Arg(
    ("--conn-id",),
    help="connection of the operation log's database; by default [apitask] operation_log_conn_id",
    metavar="ID",
)
_FILTERS = (
    Arg(("--type",), help="invoke, poll, result, download, cancel, login, …", dest="subtype", metavar="TYPE"),
    Arg(("--status",), help="success, failed, running or interrupted"),
    Arg(("--dag-id",), help="of this DAG", metavar="ID"),
    Arg(("--task-id",), help="of this task", metavar="ID"),
    Arg(("--run-id",), help="of this run", metavar="ID"),
    Arg(("--map-index",), help="of this one of a mapped task", type=int, metavar="N"),
    Arg(("--operation-id",), help="of one call, with all that belongs to it", metavar="ID"),
    Arg(("--job-id",), help="of this remote job", metavar="ID"),
    Arg(("--since",), help="begun then or later: ISO 8601, or 12h for so long ago", metavar="TIME"),
    Arg(("--until",), help="begun before then", metavar="TIME"),
    Arg(("--limit",), help="how many at most, 50 by default", type=int, default=50, metavar="N"),
)
_TASK = (
    Arg(("--dag-id",), help="DAG of the task", metavar="ID"),
    Arg(("--task-id",), help="an ApiCallOperator, @task.api_call or ApiStatusSensor", metavar="ID"),
    Arg(
        ("-f", "--subdir"), help="DAG file or folder; by default where Airflow finds the DAG", metavar="PATH"
    ),
    Arg(("--map-index",), help="which one of a mapped task", type=int, default=-1, metavar="N"),
    Arg(("--run-id",), help="a run of the DAG: its dates, conf and XComs are used, nothing of it is changed"),
)
_RUN = (
    Arg(("--logical-date",), help="for templates, ISO 8601; by default now", metavar="TIME"),
    Arg(("--conf",), help="conf of the run, which overrides params: JSON or @FILE", metavar="JSON"),
)
_CALL = (
    Arg(
        ("--file",),
        help="YAML or JSON file with parameters of the operator; options win over it",
        metavar="FILE",
    ),
    _CONN_ID,
    Arg(("--method",), help="HTTP method, POST by default"),
    Arg(("--endpoint",), help="path below the connection's base URL"),
    Arg(("--param",), help="query parameter NAME=VALUE; may be repeated", action="append", metavar="PAIR"),
    Arg(("--header",), help="header field NAME=VALUE; may be repeated", action="append", metavar="PAIR"),
    Arg(("--body",), help="JSON or other text, @FILE, or @- for standard input", metavar="BODY"),
    Arg(("--body-format",), help="json (default), form, multipart, xml or raw"),
    Arg(("--mode",), help="sync or async; async by default where there is a job"),
    Arg(("--job",), help="how to follow the job: JSON, @FILE, or a name such as LOCATION", metavar="JOB"),
    Arg(("--validation",), help="response_validation: JSON or @FILE", metavar="JSON"),
    Arg(("--response-path",), help="the part of a synchronous answer that is the result", metavar="PATH"),
    Arg(("--timeout",), help="seconds of one request", type=float, metavar="SECONDS"),
    Arg(("--require-csrf-token",), help="fetch a CSRF token first", action="store_true", default=None),
)

_TEST_RUN = """\
Run one API call alone, on this machine, and show each step. It is either a task of a DAG (--dag-id and
--task-id), its templates rendered, or a call given by options or a file. Nothing of it is stored in Airflow.
A job is waited for here; checks of its status that fail end it at once (no status_grace). Ctrl-C cancels it.
Another test run of the same call ends the one still running.

exit codes: 0 it succeeded, 1 it failed, 2 it was not understood, 130 it was ended from outside
"""
_CHECK = """\
Test a connection step by step: name, network, TLS, credentials, and a GET or HEAD of its health_endpoint.
Nothing else is sent.

exit codes: 0 it can be used, 1 it cannot, 2 it was not understood
"""


def get_commands() -> list[GroupCommand]:
    """The group ``apitask``."""
    return [
        GroupCommand(
            name="apitask",
            help="Try API calls and connections, see what was called",
            subcommands=(
                ActionCommand(
                    name="test-run",
                    help="Run one API call alone and show each step",
                    description=_TEST_RUN,
                    func=_command("test_run.test_run"),
                    args=(*_TASK, *_RUN, *_CALL, _JSON, _VERBOSE),
                ),
                ActionCommand(
                    name="check",
                    help="Test a connection step by step",
                    description=_CHECK,
                    func=_command("check.check_connection"),
                    args=(
                        Arg(("conn_id",), help="id of the connection", metavar="conn-id"),
                        _JSON,
                        _VERBOSE,
                    ),
                ),
                ActionCommand(
                    name="history",
                    help="Show the operation log, the newest first",
                    func=_command("log.history"),
                    args=(*_FILTERS, _LOG_CONN_ID, _JSON),
                ),
                GroupCommand(
                    name="db",
                    help="The table of the operation log",
                    subcommands=(
                        ActionCommand(
                            name="migrate",
                            help="Create the table, or bring it up to date",
                            func=_command("log.migrate"),
                            args=(_LOG_CONN_ID,),
                        ),
                        ActionCommand(
                            name="check",
                            help="Whether the table is there and up to date",
                            func=_command("log.check_table"),
                            args=(_LOG_CONN_ID,),
                        ),
                    ),
                ),
                GroupCommand(
                    name="log",
                    help="Records that wait on this host",
                    subcommands=(
                        ActionCommand(
                            name="flush",
                            help="Move them to the database now",
                            func=_command("log.flush"),
                            args=(_LOG_CONN_ID,),
                        ),
                    ),
                ),
            ),
        )
    ]


def _command(path: str):  # type: ignore[no-untyped-def]
    return lazy_load_command(f"airflow_provider_apitask.cli.{path}")
