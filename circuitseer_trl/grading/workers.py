"""How are comparisons run in processes that can be killed? Symbolic algebra may never return, or use all memory.

A worker is `python -m circuitseer_trl.grading.workers`, a separate program that reads and writes JSON lines. It works from
threads, needs no signals and imports nothing of the caller. Killing it also ends a hang inside C code.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MEMORY_BYTES = 2 << 30
# Importing sympy takes seconds on a busy machine, and counts against no comparison.
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task; `result` is None if its worker was killed or died."""

    result: dict[str, Any] | None
    failure: str
    seconds: float


class _Worker:
    def __init__(self, timeout: float) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "circuitseer_trl.grading.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        self.timeout = timeout
        self.task: int | None = None
        self.ready = False
        self.received = b""
        self.since = time.monotonic()

    def send(self, number: int, task: dict[str, Any]) -> None:
        self.task, self.since = number, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when its answer is read
            self.stdin.write(json.dumps(task).encode() + b"\n")
            self.stdin.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """Whole lines that have arrived, or `None` at the end of a dead worker's output."""
        chunk = os.read(self.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self.received = (self.received + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    @property
    def deadline(self) -> float:
        return self.since + (self.timeout if self.ready else _START_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # what a dead worker did not read
            self.stdin.close()
        self.stdout.close()


class WorkerPool:
    """A pool of worker processes. They start at their first task, and are replaced when they are killed."""

    def __init__(self, num_workers: int, timeout: float) -> None:
        self.num_workers, self.timeout = num_workers, timeout
        self._workers: list[_Worker] = []

    def run(self, tasks: Iterable[dict[str, Any]]) -> Iterator[tuple[int, Outcome]]:
        """Yields (number of the task, its outcome) as they finish, taking tasks as workers become free."""
        queue = enumerate(tasks)
        upcoming = next(queue, None)
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
            while True:
                for worker in self._workers:
                    if upcoming is not None and worker.ready and worker.task is None:
                        worker.send(*upcoming)
                        upcoming = next(queue, None)
                if (
                    upcoming is not None
                    and len(self._workers) < self.num_workers
                    and all(worker.ready and worker.task is not None for worker in self._workers)
                ):
                    self._start(selector)
                busy = [worker for worker in self._workers if worker.task is not None or not worker.ready]
                if upcoming is None and all(worker.task is None for worker in self._workers):
                    return
                wait = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
                for key, _ in selector.select(wait):
                    yield from self._read(key.data, selector)
                now = time.monotonic()
                for worker in [worker for worker in self._workers if worker in busy and worker.deadline <= now]:
                    if not worker.ready:
                        raise RuntimeError(f"A grading process did not start within {_START_SECONDS:.0f} s.")
                    if worker.task is not None:
                        yield worker.task, Outcome(None, "timeout", now - worker.since)
                        self._drop(worker, selector)

    def _start(self, selector: selectors.BaseSelector) -> None:
        worker = _Worker(self.timeout)
        self._workers.append(worker)
        selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _drop(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        selector.unregister(worker.stdout)
        worker.kill()
        self._workers.remove(worker)

    def _read(self, worker: _Worker, selector: selectors.BaseSelector) -> Iterator[tuple[int, Outcome]]:
        lines = worker.receive()
        if lines is None:
            if not worker.ready:
                raise RuntimeError(
                    "A grading process ended while it started. Try `python -m circuitseer_trl.grading.workers` to see why."
                )
            number, seconds = worker.task, time.monotonic() - worker.since
            self._drop(worker, selector)
            if number is not None:
                yield number, Outcome(None, "crash", seconds)
            return
        for line in lines:
            if not worker.ready:
                worker.ready = True
            else:
                assert worker.task is not None
                number, worker.task = worker.task, None
                yield number, Outcome(line, "", time.monotonic() - worker.since)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


def _serve() -> None:
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from circuitseer_trl.grading.equivalence import compare

    answers.write(b'{"ready": true}\n')
    answers.flush()
    for line in sys.stdin.buffer:
        try:
            comparison = compare(**json.loads(line))
            outcome = {"correct": comparison.correct, "reason": comparison.reason}
        except Exception as error:  # no answer may end the process that others wait for; the reason tells of it
            outcome = {"correct": False, "reason": f"error: {type(error).__name__}"}
        answers.write(json.dumps(outcome).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
