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
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.grading.installed import grading_python, what_is_missing

_MEMORY_BYTES = 2 << 30
# The start of a process on a busy machine counts against no comparison.
_START_SECONDS = 120.0
# A comparison is stopped by its processor time. The clock only finds processes that do not run at all.
_CLOCK_PER_PROCESSOR = 20.0
# Most tasks that a worker takes at once. They fit into a pipe, so that sending never blocks.
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
    """A place for one process, which starts at its first task and after it was killed."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.process: subprocess.Popen[bytes] | None = None
        self.tasks: deque[_Task] = deque()

    def start(self) -> None:
        """Starts a process, unless one is there."""
        if self.process is not None and self.process.poll() is None:
            return
        self.kill()  # one that died while nobody used it
        python, environment = grading_python(), os.environ | {"PYTHONHASHSEED": "0"}  # sympy follows the order of sets
        if python == sys.executable:  # another Python has this package installed, and would find our packages first
            paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = subprocess.Popen(
            [python, "-m", "circuitseer_trl.grading.workers", str(self.timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdout.fileno(), False)
        self.ready, self.received = False, b""

    def send(self, waiting: deque[_Task], most: int) -> None:
        """Takes the first tasks of those that wait."""
        num_bytes = 0
        while (
            waiting and len(self.tasks) < most and (not self.tasks or num_bytes + len(waiting[0].line) <= _AHEAD_BYTES)
        ):
            num_bytes += len(waiting[0].line)
            self.tasks.append(waiting.popleft())
        self.since = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when its answer is read
            self.stdin.write(b"".join(task.line for task in self.tasks))
            self.stdin.flush()

    def receive(self) -> Iterator[tuple[int, Outcome]]:
        """Outcomes that have arrived. The first task of a process that died has none but that."""
        if not (chunk := os.read(self.stdout.fileno(), 1 << 16)):
            yield self._ended()
            return
        self.since = time.monotonic()
        *lines, self.received = (self.received + chunk).split(b"\n")
        for line in map(json.loads, lines):
            if self.ready:
                yield self.tasks.popleft().number, Outcome(line, "", line.pop("seconds"))
            elif line["missing"]:
                raise ImportError(line["missing"])
            self.ready = True

    def _ended(self) -> tuple[int, Outcome]:
        if not self.ready:
            raise RuntimeError(
                "A grading process ended while it started. Try `python -m circuitseer_trl.grading.workers 5` to see why."
            )
        assert self.process is not None
        stopped = self.process.wait() == -getattr(signal, "SIGPROF", 0) != 0
        return self.fail("timeout" if stopped else "crash")

    def fail(self, failure: str) -> tuple[int, Outcome]:
        """Kills the process, and gives the outcome of the task that it was at."""
        if not self.ready:
            raise RuntimeError(f"A grading process did not start within {_START_SECONDS:.0f} s.")
        outcome = self.tasks.popleft().number, Outcome(None, failure, time.monotonic() - self.since)
        self.kill()
        return outcome

    @property
    def deadline(self) -> float:
        return self.since + (self.timeout * _CLOCK_PER_PROCESSOR if self.ready else _START_SECONDS)

    @property
    def dead(self) -> bool:
        return self.process is None

    def kill(self) -> None:
        """Ends the process. Its tasks stay."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # what a dead worker did not read
            self.stdin.close()
        self.stdout.close()
        self.process = None


class WorkerPool:
    """A pool of worker processes, lent to callers from any thread. A worker has tasks of one caller at a time.

    Args:
        num_workers: Most processes at a time.
        timeout: Seconds of processor time of a task.
    """

    def __init__(self, num_workers: int, timeout: float) -> None:
        self.workers = [_Worker(timeout) for _ in range(num_workers)]
        self._lock, self._closing = threading.Lock(), threading.Lock()
        self._free = deque(self.workers)
        self._queue: deque[Future[_Worker]] = deque()  # callers that have no worker yet, in their order

    def _spare(self) -> _Worker | None:
        """A worker that no caller uses, if there is one."""
        with self._lock:
            return self._free.pop() if self._free else None

    def _borrow(self) -> _Worker:
        """A worker that no other caller uses, after those who came before have had one."""
        with self._lock:
            if self._free:
                return self._free.pop()
            turn: Future[_Worker] = Future()
            self._queue.append(turn)
        try:
            return turn.result()
        except BaseException:  # Control-C
            with self._lock:
                if turn in self._queue:
                    self._queue.remove(turn)
            if turn.done():
                self._give_back(turn.result())
            raise

    def _give_back(self, worker: _Worker) -> None:
        if worker.tasks:  # its caller was interrupted, and nobody reads these answers
            worker.kill()
            worker.tasks.clear()
        with self._lock:
            if self._queue:
                self._queue.popleft().set_result(worker)
            elif worker.dead:
                self._free.appendleft(worker)  # one that runs is lent first
            else:
                self._free.append(worker)

    def run(self, tasks: Iterable[dict[str, Any]], done: Callable[[int, Outcome], None]) -> None:
        """Calls `done` with the number of each task and its outcome, as they finish."""
        waiting = deque(_Task(number, json.dumps(task).encode() + b"\n") for number, task in enumerate(tasks))
        lent: list[_Worker] = []
        try:
            while waiting or lent:
                while waiting and (worker := self._spare() if lent else self._borrow()):
                    lent.append(worker)
                    worker.start()
                    worker.send(waiting, most=min(_AHEAD, -(-len(waiting) // len(self.workers))))
                for number, outcome in _outcomes(lent):
                    done(number, outcome)
                for worker in [each for each in lent if each.dead or not each.tasks]:
                    waiting.extendleft(reversed(worker.tasks))  # those behind the task at which it was killed
                    worker.tasks.clear()
                    lent.remove(worker)
                    self._give_back(worker)
        finally:
            for worker in lent:
                self._give_back(worker)

    def close(self) -> None:
        """Ends the processes, each when no caller uses it."""
        with self._closing:
            workers = [self._borrow() for _ in self.workers]
            for worker in workers:
                worker.kill()
                self._give_back(worker)


def _outcomes(workers: list[_Worker]) -> list[tuple[int, Outcome]]:
    """Waits for the next outcomes of workers, at most until one of them is killed because it takes too long."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.stdout, selectors.EVENT_READ, worker)
        wait = max(0.0, min(worker.deadline for worker in workers) - time.monotonic())
        outcomes = [each for key, _ in selector.select(wait) for each in key.data.receive()]
    now = time.monotonic()
    late = [worker for worker in workers if not worker.dead and worker.tasks and worker.deadline <= now]
    return outcomes + [worker.fail("timeout") for worker in late]


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
