"""The grader over HTTP: real requests to a real process."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from circuitseer_trl.grading.service import MAX_ANSWERS, MAX_BYTES


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "circuitseer_trl.grading.service", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]
        process.kill()


def ask(address: str, body: object, path: str = "/grade") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, data=data), timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_one_answer_and_many(service: tuple[subprocess.Popen[str], str]):
    _, address = service
    right = {"answer": r"so \boxed{\frac12}", "reference": "0.5"}
    expected = {"correct": True, "extracted": r"\frac12", "reason": "value", "undecided": False}
    assert ask(address, right) == (200, expected)
    blanks = {"question": "The mean is ____ and the median is ____.", "reference": "5, 3"}
    many = [
        right,
        {"answer": "0.4", "reference": "0.5"},
        {"answer": "3, 5"} | blanks,
        {"answer": r"\foo{1}", "reference": "1"},
    ]
    status, verdicts = ask(address, many)
    assert status == 200
    assert [verdict["correct"] for verdict in verdicts] == [True, False, False, False]
    assert [verdict["undecided"] for verdict in verdicts] == [False, False, False, True]
    assert ask(address, []) == (200, [])
    parts = {"question": "Find (1) the mean, (2) the mode.", "reference": "5, 3"}
    assert ask(address, {"answer": r"(1) it is \boxed{5} as asked; then we count: (2) \boxed{3}"} | parts)[1]["correct"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "Expecting"),
        (b"\xff", 400, "decode"),
        (b"[" * 100_000, 400, "recursion"),
        (b'{"answer": 1' + b"0" * 5000 + b"}", 400, "digits"),
        ({"answer": "1"}, 400, '"reference": ...'),
        ({"answer": "1", "reference": "1", "code": "1"}, 400, "Expected"),
        ([3], 400, "Expected"),
        ({"answer": 1, "reference": "1"}, 400, "texts"),
        ([{"answer": "1", "reference": "1"}] * (MAX_ANSWERS + 1), 400, "At most 1000"),
        (b" " * (MAX_BYTES + 1), 413, "1048576"),
    ],
)
def test_bad_input_gets_one_clear_line(
    service: tuple[subprocess.Popen[str], str], body: object, status: int, words: str
):
    found, reply = ask(service[1], body)
    assert (found, list(reply)) == (status, ["error"])
    assert words in reply["error"]
    assert "\n" not in reply["error"]


def test_other_paths_and_health(service: tuple[subprocess.Popen[str], str]):
    _, address = service
    with urllib.request.urlopen(address + "/health") as reply:
        assert json.load(reply) == {"status": "ok"}
    assert ask(address, {}, "/other")[0] == 404


def test_64_requests_at_once_and_a_graceful_end(service: tuple[subprocess.Popen[str], str]):
    process, address = service
    bodies = [[{"answer": str(n), "reference": str(n + n % 2 * k)} for k in range(20)] for n in range(64)]
    with ThreadPoolExecutor(64) as threads:
        replies = list(threads.map(lambda body: ask(address, body), bodies))
    for (status, verdicts), body in zip(replies, bodies, strict=True):
        assert status == 200
        assert [verdict["correct"] for verdict in verdicts] == [each["answer"] == each["reference"] for each in body]
    # A request that has begun is answered after SIGTERM.
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"answer": "7", "reference": "7.0"}).encode()
    with socket.create_connection((host, int(port))) as begun:
        begun.sendall(b"POST /grade HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        begun.sendall(body)
        reply = b"".join(iter(lambda: begun.recv(1 << 16), b""))
    assert b" 200 " in reply
    assert json.loads(reply.split(b"\r\n\r\n", 1)[1])["correct"]
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
