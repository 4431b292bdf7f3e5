"""An API of the kind that Panoply's flex connector is made for: an export in three calls, in JSON or XML.

==================================  =================================================================
``POST, GET /exports``              trigger: ``table`` in the body or the query; the async identifier
                                    ``result.id``
``POST, GET /exports/status``       status check: ``export_id``; ``result.state`` is waiting, done or
                                    broken, and once it is done ``result.identifier`` is the file
``GET, POST /files``                main API: ``file``; the rows of the table
``GET /tables/{table}``             the rows without an export, for tables that are small
==================================  =================================================================

All ask for ``Authorization: Bearer …``. A body of XML is answered in XML, and so is
``Accept: application/xml``; the elements are called as the members in JSON, below one root ``answer``.
Nothing ends an export.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree as ET

from tests.support import Answer, Recorded
from tests.support.scripted_server import ScriptedServer

__all__ = ["BROKEN", "ENDLESS", "ORDERS", "ROWS", "TOKEN", "Export", "PanoplyServer"]

TOKEN: Final = "t0ken-of-the-export-api"
ORDERS: Final = "orders"
BROKEN: Final = "broken"
ENDLESS: Final = "endless"
ROWS: Final = [{"id": 1, "sum": 10}, {"id": 2, "sum": 20}]


@dataclass
class Export:
    """An export; its id holds what has to be encoded in a URL. Its first check sees it waiting, always."""

    id: str
    table: str
    seconds: float
    since: float = field(default_factory=time.monotonic)
    checks: int = 0

    @property
    def state(self) -> str:
        if time.monotonic() - self.since < self.seconds or self.checks == 1:
            return "waiting"
        return "broken" if self.table == BROKEN else "done"

    @property
    def file(self) -> str:
        return f"{self.table}/part 1+{self.id}"

    def answer(self) -> dict[str, Any]:
        told = {"state": self.state}
        if self.state == "done":
            told["identifier"] = self.file
        if self.state == "broken":
            told["message"] = f"table {self.table} cannot be read"
        return {"result": told}


class PanoplyServer(ScriptedServer):
    """See the module's head; faults that a test scripts with ``once`` and ``on`` go before its behaviour.

    :param seconds: how long an export works; one of the table ``ENDLESS`` takes an hour.
    """

    def __init__(self, *, seconds: float = 0.1) -> None:
        super().__init__()
        self.seconds = seconds
        self.exports: list[Export] = []
        """All that were triggered, in order."""
        self._lock = threading.Lock()

    def lose(self, request: Recorded) -> Answer:
        """Carry the request out and lose its answer; for ``once``."""
        self.unscripted(request)
        return Answer(drop="before")

    def unscripted(self, request: Recorded) -> Answer:
        """What the API does."""
        status, told = self._carry_out(request)
        wanted = request.header("Accept") or ""
        kind = request.header("Content-Type") or ""
        if "xml" in kind or wanted.startswith("application/xml"):
            text = ET.tostring(_element("answer", told), encoding="unicode")
            return Answer(status, text=text, headers={"Content-Type": "application/xml"})
        return Answer(status, told)

    def _carry_out(self, request: Recorded) -> tuple[int, dict[str, Any]]:
        if request.header("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "the token is not valid"}
        given = {**dict(request.query), **_read(request)}
        match request.method, request.path.strip("/").split("/"):
            case "GET" | "POST", ["exports"]:
                return self._trigger(given)
            case "GET" | "POST", ["exports", "status"]:
                found = [export for export in self.exports if export.id == given.get("export_id")]
                for export in found:
                    export.checks += 1
                return (200, found[0].answer()) if found else (404, {"error": "no such export"})
            case "GET" | "POST", ["files"]:
                known = [export.file for export in self.exports if export.state == "done"]
                return (
                    (200, {"rows": ROWS}) if given.get("file") in known else (404, {"error": "no such file"})
                )
            case "GET", ["tables", table] if table == ORDERS:
                return 200, {"rows": ROWS}
        return 404, {"error": f"there is no {request.path}"}

    def _trigger(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        table = given.get("table")
        if table not in (ORDERS, BROKEN, ENDLESS):
            return 422, {"error": f"there is no table {table}"}
        with self._lock:
            export_id = f"export:{len(self.exports) + 1}+a/b"
            self.exports.append(Export(export_id, table, 3600.0 if table == ENDLESS else self.seconds))
        return 200, {"result": {"id": export_id}}


def _read(request: Recorded) -> dict[str, Any]:
    """The fields of a body of JSON or XML."""
    if not request.body:
        return {}
    if "xml" in (request.header("Content-Type") or ""):
        return {child.tag: child.text for child in ET.fromstring(request.body)}
    return dict(json.loads(request.body))


def _element(name: str, value: Any) -> ET.Element:
    made = ET.Element(name)
    if isinstance(value, dict):
        for key, item in value.items():
            made.extend(_element(key, one) for one in (item if isinstance(item, list) else [item]))
    else:
        made.text = str(value)
    return made
