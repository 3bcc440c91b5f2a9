"""How are comparisons run in processes that can be killed? Symbolic algebra may never return, or use all memory.

A worker is `python -m circuitseer_trl.grading.workers`, a separate program that reads and writes JSON lines. It works from
threads, needs no signals and imports nothing of the caller. Killing it also ends a hang inside C code.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.grading.installed import grading_python, what_is_missing

_MEMORY_BYTES = 2 << 30
# The start of a process on a busy machine counts against no comparison.
_START_SECONDS = 120.0
# A comparison is stopped by its processor time. The clock only finds processes that do not run at all.
_CLOCK_PER_PROCESSOR = 20.0
# Tasks sent ahead, so that no worker waits for the next one. They fit into a pipe, so that sending never blocks.
_AHEAD, _AHEAD_BYTES = 32, 48_000


def default_workers() -> int:
    """Number of processes where none is named: one for each core, at most four."""
    return min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task; `result` is None if its worker was killed or died."""

    result: dict[str, Any] | None
    failure: str
    seconds: float


@dataclass(frozen=True)
class _Task:
    number: int
    line: bytes


class _Worker:
    def __init__(self, timeout: float) -> None:
        python, environment = grading_python(), dict(os.environ)
        if (
            python == sys.executable
        ):  # another Python has this package installed, and would find our packages before its own
            paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = subprocess.Popen(
            [python, "-m", "circuitseer_trl.grading.workers", str(timeout)],
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
        self.tasks: deque[_Task] = deque()
        self.ready = False
        self.received = b""
        self.since = time.monotonic()

    def takes(self, task: _Task) -> bool:
        """Whether another task may be sent."""
        if not self.ready or len(self.tasks) >= _AHEAD:
            return False
        return not self.tasks or sum(len(each.line) for each in self.tasks) + len(task.line) <= _AHEAD_BYTES

    def send(self, task: _Task) -> None:
        if not self.tasks:
            self.since = time.monotonic()
        self.tasks.append(task)
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when its answer is read
            self.stdin.write(task.line)
            self.stdin.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """Whole lines that have arrived, or `None` at the end of a dead worker's output."""
        chunk = os.read(self.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        self.since = time.monotonic()
        *lines, self.received = (self.received + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    @property
    def deadline(self) -> float:
        return self.since + (self.timeout * _CLOCK_PER_PROCESSOR if self.ready else _START_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # what a dead worker did not read
            self.stdin.close()
        self.stdout.close()


class WorkerPool:
    """A pool of worker processes. They start at their first task, and are replaced when they are killed.

    Args:
        num_workers: Most processes at a time.
        timeout: Seconds of processor time of a task.
    """

    def __init__(self, num_workers: int, timeout: float) -> None:
        self.num_workers, self.timeout = num_workers, timeout
        self._workers: list[_Worker] = []

    def run(self, tasks: Iterable[dict[str, Any]]) -> Iterator[tuple[int, Outcome]]:
        """Yields (number of the task, its outcome) as they finish, taking tasks as workers become free."""
        lines = (_Task(number, json.dumps(task).encode() + b"\n") for number, task in enumerate(tasks))
        waiting: deque[_Task] = deque()  # the next task, and those that a killed worker had not begun
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
            while True:
                while (waiting or self._next(lines, waiting)) and (free := self._free(waiting[0])) is not None:
                    free.send(waiting.popleft())
                if waiting and len(self._workers) < self.num_workers and all(each.tasks for each in self._workers):
                    self._start(selector)
                busy = [worker for worker in self._workers if worker.tasks or not worker.ready]
                if not waiting and not any(worker.tasks for worker in self._workers):
                    return
                wait = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
                for key, _ in selector.select(wait):
                    yield from self._read(key.data, selector, waiting)
                now = time.monotonic()
                for worker in [each for each in self._workers if each in busy and each.deadline <= now]:
                    if not worker.ready:
                        raise RuntimeError(f"A grading process did not start within {_START_SECONDS:.0f} s.")
                    if worker.tasks:
                        yield self._failed(worker, "timeout", selector, waiting)

    @staticmethod
    def _next(lines: Iterator[_Task], waiting: deque[_Task]) -> bool:
        task = next(lines, None)
        if task is not None:
            waiting.append(task)
        return task is not None

    def _free(self, task: _Task) -> _Worker | None:
        """The worker with the fewest tasks among those that take another one."""
        return min((each for each in self._workers if each.takes(task)), key=lambda each: len(each.tasks), default=None)

    def _start(self, selector: selectors.BaseSelector) -> None:
        worker = _Worker(self.timeout)
        self._workers.append(worker)
        selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _failed(
        self, worker: _Worker, failure: str, selector: selectors.BaseSelector, waiting: deque[_Task]
    ) -> tuple[int, Outcome]:
        """The outcome of the task that a worker was at; those behind it wait for another worker."""
        seconds = time.monotonic() - worker.since
        selector.unregister(worker.stdout)
        worker.kill()
        self._workers.remove(worker)
        task = worker.tasks.popleft()
        waiting.extendleft(reversed(worker.tasks))
        return task.number, Outcome(None, failure, seconds)

    def _read(
        self, worker: _Worker, selector: selectors.BaseSelector, waiting: deque[_Task]
    ) -> Iterator[tuple[int, Outcome]]:
        lines = worker.receive()
        if lines is None:
            if not worker.ready:
                raise RuntimeError(
                    "A grading process ended while it started. "
                    "Try `python -m circuitseer_trl.grading.workers 5` to see why."
                )
            if worker.tasks:
                stopped = worker.process.wait() == -getattr(signal, "SIGPROF", 0) != 0
                yield self._failed(worker, "timeout" if stopped else "crash", selector, waiting)
            else:
                selector.unregister(worker.stdout)
                worker.kill()
                self._workers.remove(worker)
            return
        for line in lines:
            if not worker.ready:
                if line["missing"]:
                    self.close()
                    raise ImportError(line["missing"])
                worker.ready = True
            else:
                yield worker.tasks.popleft().number, Outcome(line, "", line.pop("seconds"))

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


def _serve(timeout: float) -> None:
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    missing = what_is_missing()
    if missing is None:
        from circuitseer_trl.grading import budget
        from circuitseer_trl.grading.equivalence import compare
        from circuitseer_trl.grading.symbolic import math_verify_alone
    answers.write(json.dumps({"missing": missing}).encode() + b"\n")
    answers.flush()
    for line in sys.stdin.buffer:
        start = time.perf_counter()
        budget.start(timeout)
        try:
            task = json.loads(line)
            judge = math_verify_alone if task.pop("second", False) else compare
            comparison = judge(**task)
            outcome = {"correct": comparison.correct, "reason": comparison.reason}
        except Exception as error:  # no answer may end the process that others wait for; the reason tells of it
            outcome = {"correct": False, "reason": f"error: {type(error).__name__}"}
        budget.start(0)
        outcome["seconds"] = time.perf_counter() - start
        answers.write(json.dumps(outcome).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
