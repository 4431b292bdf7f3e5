"""A small API that builds reports: POST /reports, GET /reports/1, GET /reports/1/rows."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 6  # that a report takes
reports = {}  # id → (when it was ordered, for which day)


class Reports(BaseHTTPRequestHandler):
    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = len(reports) + 1
        reports[str(number)] = (time.monotonic(), order["day"])
        self.answer(202, {"reportId": number})

    def do_GET(self):
        _, _, number, *what = self.path.split("/")
        ordered, day = reports[number]
        percent = min(100, int(100 * (time.monotonic() - ordered) / SECONDS))
        if what == ["rows"]:
            self.answer(200, {"rows": [{"day": day, "sold": 7}, {"day": day, "sold": 5}]})
        elif what == ["page"]:
            self.answer(200, {"a page for people": f"report {number}, {percent} %"})
        else:
            state = "READY" if percent == 100 else "BUILDING"
            self.answer(200, {"state": state, "percent": percent, "page": f"/reports/{number}/page"})

    def answer(self, status, body):
        known = self.headers["Authorization"] == "Bearer quick-start-token"
        if not known and not self.path.endswith("/page"):
            status, body = 401, {"detail": "no such token"}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


ThreadingHTTPServer(("127.0.0.1", 8090), Reports).serve_forever()
