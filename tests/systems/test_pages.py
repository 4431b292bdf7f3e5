"""The pages of the systems: each line is shown by a test, and the examples are short and hold no secret."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from airflow_provider_apitask import ApiCallOperator

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs" / "systems").glob("*.md") if path.stem != "index")
EXAMPLES = sorted((ROOT / "example_dags").glob("*.py"))
LONGEST = 40  # lines
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)

#: What the products' own pages name, and a person who has used them looks for.
NAMES = {
    "sap-datasphere": [
        *("technical name", "HTTP connection", "Prefer: respond-async", "X-*", "x-forwarded-host", "commas"),
        *("POST", "PUT", "HTTPS", "host and port", "Synchronous", "Asynchronous", "request body"),
        *("Require CSRF Token", "CSRF token URL", "HTTP status code", "response body", "COMPLETED", "FAILED"),
        *("RUNNING", "Location", "status endpoint", "no hard timeout", "200 to 299", "five more minutes"),
        *("Data Integration Monitor", "cancelling the chain", "no parameters", "System Monitor"),
    ],
    "informatica": [
        *("icSessionId", "serverUrl", "taskId", "taskFederatedId", "taskName", "type", "runId"),
        *("error object", "callbackURL", "endTime", "objectId", "objectName", "COMPLETED", "FAILED"),
        *("30 seconds", "three attempts", "several times"),
        *("/api/v2/job", "/api/v2/job/stop", "success object", "Default folder"),
    ],
    "qarion": [
        *("`url`", "`operation`", "`auth_type`", "`credential_id`", "`headers`", "`params`", "`body`"),
        *("`body_format`", "`timeout`", "`retry_count`", "`retry_delay`", "`xcom_pull`", "`xcom_pull_key`"),
        *("`response_handling`", "`response_validation`", "`expected_status_code`", "`required_fields`"),
        *("`field_checks`", "get, post, put, patch, delete", "none, basic, oauth2, api_key, bearer"),
        *(
            "json (default), form, raw, xml",
            "store (default)",
            "validate",
            "ignore",
            "basic_auth",
            "token_url",
        ),
        *("header_name", "batch_id", "execution_date", "flow_id", "node_id", "variable_name", "xcom_task_id"),
        *("Simple API Call", "POST with Authentication", "Using XCom Data", "OAuth2 with Retries"),
        *(
            "API Call with Response Validation",
            "xt_operation_logs",
            "400 and above",
            "`id`",
            "`dependencies`",
        ),
    ],
    "invision": [
        *("api_key", "x-api-key", "api/pub/v1/dataflows/<id>/start", "await=true", "runId", "Pending"),
        *("Running", "Succeeded", "Failed", "500 Internal Server Error", "Manage API Keys"),
        *("api/pub/v1/dataflows/<id>/runs/<runid>/status", "from seconds to hours"),
    ],
    "panoply": [
        *("URL", "Method", "POST data", "JSON or XML", "URL parameters", "Headers", "Async identifier"),
        *("Repeat frequency", "Maximum iterations", "Completion key", "Completion value", "Failure value"),
        *("Result identifier", "export_id={result.id}", "Main API", "Async trigger", "Async status check"),
    ],
}


def tables_of(page: Path) -> list[list[str]]:
    """The rows of those tables that name tests, as cells."""
    rows, proven = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            proven = False
        elif line.endswith("| test |"):
            proven = True
        elif proven and not set(line) <= set("|- "):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


@each_page
def test_each_line_names_tests_that_are_there(page: Path) -> None:
    rows = tables_of(page)
    assert len(rows) >= 5
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row[-1])
        assert named, f"no test in {row}"
        for path, name in named:
            assert (ROOT / path).is_file(), row
            assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), row


@each_page
def test_text_names_tests_that_are_there(page: Path) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"


@each_page
def test_its_example_is_included(page: Path) -> None:
    included = re.findall(r"literalinclude\} (\S+)", page.read_text(encoding="utf-8"))
    assert included
    assert all((page.parent / name).resolve() in EXAMPLES for name in included)


@pytest.mark.parametrize(("page", "names"), NAMES.items(), ids=NAMES.keys())
def test_every_field_and_rule_is_on_the_page(page: str, names: list[str]) -> None:
    text = (ROOT / "docs" / "systems" / f"{page}.md").read_text(encoding="utf-8")
    assert [name for name in names if name not in " ".join(text.split())] == []


@each_example
def test_example_is_short(example: Path) -> None:
    source = example.read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0].end_lineno or 0
    lines = [line.strip() for line in source.splitlines()[docstring:]]
    code = [line for line in lines if line and not line.startswith("#")]
    assert len(code) <= LONGEST


@each_example
def test_example_needs_no_function_for_the_api_and_has_no_secret(example: Path) -> None:
    tree = ast.parse(example.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    of_the_api = [c for c in calls if getattr(c.func, "id", "").startswith("Api")]
    assert of_the_api
    for call in of_the_api:
        assert not any(isinstance(node, ast.Lambda) for node in ast.walk(call))
        given = {keyword.arg for keyword in call.keywords}
        assert not given & {"response_check", "response_filter"}
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [value for value in constants if isinstance(value, str)]
    words = re.compile(r"(?i)authorization|password|secret|bearer|api.?key")
    docstring = ast.get_docstring(tree, clean=False)
    assert [text for text in texts if text != docstring and words.search(text)] == []


def test_what_is_looked_for_in_examples_are_parameters() -> None:
    assert {"response_check", "response_filter"} <= set(ApiCallOperator.__init__.__annotations__)
