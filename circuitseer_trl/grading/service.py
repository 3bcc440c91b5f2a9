"""Are these answers right? Over HTTP: POST /grade, GET /health. SIGTERM ends it after the requests that it has begun."""

import argparse
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from circuitseer_trl.grading.adapters.answer_texts import answer_and_question
from circuitseer_trl.grading.grader import Grader

MAX_BYTES, MAX_ANSWERS, MAX_REQUESTS = 1 << 20, 1000, 64  # requests at a time; others wait


class Service(ThreadingHTTPServer):
    daemon_threads, request_queue_size, slots = False, 128, threading.BoundedSemaphore(MAX_REQUESTS)
    grader: Grader

    def process_request(self, *connection: Any) -> None:
        self.slots.acquire()
        super().process_request(*connection)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.slots.release()


class Request(BaseHTTPRequestHandler):
    server: Service
    timeout = 10.0  # seconds that a client may be silent

    def do_GET(self) -> None:
        self.reply(*((200, {"status": "ok"}) if self.path == "/health" else (404, {"error": "GET has only /health."})))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/grade":
            return self.reply(404, {"error": "POST has only /grade."})
        if not (length.isdecimal() and len(length) < 10 and int(length) <= MAX_BYTES):
            self.rfile.read(min(int(length[:9]), 4 * MAX_BYTES) if length.isdecimal() else 0)  # the rest
            return self.reply(413, {"error": f"Content-Length must be at most {MAX_BYTES}, got {length[:20]!r}."})
        try:
            given = json.loads(self.rfile.read(int(length)))
            items = [answer_and_question(each) for each in (given if isinstance(given, list) else [given])]
            if len(items) > MAX_ANSWERS:
                raise ValueError(f"At most {MAX_ANSWERS} answers are allowed in a request, got {len(items)}.")
        except (ValueError, RecursionError) as error:
            return self.reply(400, {"error": f"{error}"})
        keys = ("correct", "extracted", "reason", "undecided")
        verdicts = [{key: getattr(each, key) for key in keys} for each in self.server.grader.grade_answers(items)]
        self.reply(200, verdicts if isinstance(given, list) else verdicts[0])

    def reply(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Requests are not logged."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    where = parser.parse_args()
    with Grader() as grader, Service((where.host, where.port), Request) as server:
        server.grader = grader
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"Grading at http://{where.host}:{server.server_address[1]}", flush=True)
        server.serve_forever()
