"""A proxy in front of a real server: with what vLLM's server takes and `transformers serve` does not, and with faults."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from transformers import PreTrainedTokenizerBase

EXTRAS = ("top_k", "min_p", "repetition_penalty", "stop_token_ids")
SLOW_SECONDS = 3.0


class FaultyServer(ThreadingHTTPServer):
    """Passes requests on to `upstream`.

    Args:
        fault: Names what goes wrong with a request, by its number and body; None where nothing does.
        takes_n: Answers a request with n by n requests with seeds that follow each other, as vLLM does.
        refuses: Fields that are answered with 400.
    """

    daemon_threads = True

    def __init__(
        self,
        upstream: str,
        tokenizer: PreTrainedTokenizerBase,
        fault: Callable[[int, dict], str | None] = lambda number, body: None,
        *,
        takes_n: bool = True,
        refuses: tuple[str, ...] = (),
        max_model_len: int | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.tokenizer, self.fault, self.max_model_len = upstream, tokenizer, fault, max_model_len
        self.takes_n, self.refuses, self.served = takes_n, refuses, "another"
        self.bodies: list[dict[str, Any]] = []
        self.faults: list[str | None] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> "FaultyServer":
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        plain = {name: value for name, value in body.items() if name not in EXTRAS and name != "n"}
        if not isinstance(plain["prompt"], str):
            plain["prompt"] = self.tokenizer.decode(plain["prompt"])
        answers = []
        for index in range(body.get("n", 1)):
            content = json.dumps(plain | {"seed": plain["seed"] + index}).encode()
            request = urllib.request.Request(
                f"{self.upstream}/completions", content, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request) as response:
                answers.append(json.load(response))
        whole = answers[0]
        # Not in order: `index` says which is which.
        whole["choices"] = [each["choices"][0] | {"index": index} for index, each in enumerate(answers)][::-1]
        whole["usage"]["completion_tokens"] = sum(each["usage"]["completion_tokens"] for each in answers)
        return whole


class Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def reply(self, status: int, content: bytes, *, length: int | None = None, headers: tuple = ()) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length if length is not None else len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def do_GET(self) -> None:
        served: dict[str, Any] = {"id": self.server.served, "object": "model"}
        if self.server.max_model_len is not None:
            served |= {"max_model_len": self.server.max_model_len}
        self.reply(200, json.dumps({"object": "list", "data": [served]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = [name for name in self.server.refuses if name in body]
        if isinstance(body["prompt"], list) and "ids" in self.server.refuses:
            refused.append("a prompt of token ids")
        with self.server.lock:
            fault = self.server.fault(len(self.server.bodies), body)
            self.server.bodies.append(body)
            self.server.faults.append(fault)
        if refused:
            return self.reply(400, json.dumps({"error": {"message": f"does not take {refused}"}}).encode())
        if fault in ("429", "500", "503"):
            return self.reply(int(fault), b'{"error": "busy"}', headers=(("retry-after-ms", "5"),))
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault in ("slow", "drop"):
            self.close_connection = True
            return None
        if not self.server.takes_n:
            body.pop("n", None)
        answer = self.server.ask(body)
        if fault == "no_finish":
            answer["choices"][0]["finish_reason"] = None
        if fault == "no_choices":
            answer["choices"] = []
        content = json.dumps(answer).encode()
        if fault == "half_json":
            return self.reply(200, content[: len(content) // 2])
        if fault == "half_body":
            self.reply(200, content[: len(content) // 2], length=len(content))
            self.close_connection = True
            return None
        return self.reply(200, content)
