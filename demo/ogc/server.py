"""Serves pygeoapi on the loopback address: ``python -m demo.ogc.server <folder> <port>``.

The folder receives configuration, OpenAPI document, jobs and results; with the same folder, a restarted
server still knows the jobs. waitress serves it because it is a single process: pygeoapi runs asynchronous
jobs in threads of the process that accepted them, and a server which recycles its worker processes would
end them.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import waitress
from pygeoapi.openapi import generate_openapi_document

from demo.ogc.slow import SlowProcessor
from demo.processes import LOOPBACK

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["main"]

THREADS = 8


def configuration(folder: Path, url: str) -> dict[str, Any]:
    """Return pygeoapi's configuration: no data, one process, the jobs in a TinyDB file."""
    return {
        "server": {
            "bind": {"host": LOOPBACK, "port": int(url.rsplit(":", 1)[1])},
            "url": url,
            "mimetype": "application/json; charset=UTF-8",
            "encoding": "utf-8",
            "gzip": False,
            "languages": ["en-US"],
            "pretty_print": True,
            "limits": {"default_items": 100, "max_items": 1000},
            "map": {"url": "", "attribution": ""},
            "manager": {
                "name": "TinyDB",
                "connection": str(folder / "jobs.json"),
                "output_dir": str(folder / "results"),
            },
        },
        "logging": {"level": "INFO"},
        "metadata": {
            "identification": {
                "title": "Demo processes",
                "description": "Asynchronous processes for a demo",
                "keywords": ["demo"],
                "keywords_type": "theme",
                "terms_of_service": "none",
                "url": url,
            },
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "provider": {"name": "demo", "url": url},
            "contact": {"name": "demo", "url": url},
        },
        "resources": {
            "slow": {
                "type": "process",
                "processor": {"name": f"{SlowProcessor.__module__}.{SlowProcessor.__qualname__}"},
            }
        },
    }


def recorded(application: WSGIApplication, record: Path) -> WSGIApplication:
    """Wrap a WSGI application so that every request becomes a line of JSON in the file ``record``."""
    lock = threading.Lock()

    def recording(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        line = {
            "time": datetime.now(UTC).isoformat(),
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "agent": environ.get("HTTP_USER_AGENT", ""),
        }

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            with lock, record.open("a", encoding="utf-8") as output:
                output.write(json.dumps({**line, "status": int(status[:3])}) + "\n")
            return start_response(status, headers, *rest)

        return application(environ, start)

    return recording


def main(folder: Path, port: int) -> None:
    """Write configuration and OpenAPI document to ``folder`` and serve until the process is ended."""
    url = f"http://{LOOPBACK}:{port}"
    (folder / "results").mkdir(exist_ok=True)
    config_file, openapi_file = folder / "config.yml", folder / "openapi.json"
    # JSON is YAML, so that no YAML library is needed to write it.
    config_file.write_text(json.dumps(configuration(folder, url), indent=2), encoding="utf-8")
    openapi_file.write_text(generate_openapi_document(config_file, "json"), encoding="utf-8")
    os.environ["PYGEOAPI_CONFIG"] = str(config_file)
    os.environ["PYGEOAPI_OPENAPI"] = str(openapi_file)

    from pygeoapi.flask_app import APP  # It reads both files when it is imported.

    waitress.serve(recorded(APP, folder / "requests.jsonl"), host=LOOPBACK, port=port, threads=THREADS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
