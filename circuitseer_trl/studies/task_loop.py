"""In which order are a study's tasks done, and by whom? Each process takes the first task that can be done and nobody else does.

Processes agree by locks and by the records of tasks in `logs/`, so they may be on several machines with one disk.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.locks import FolderInUseError, writing_to
from circuitseer_trl.redaction import redact_command
from circuitseer_trl.studies.tasks import STEP_NAMES, Task

PATIENCE_SECONDS = 0.2
DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Session:
    """What one command of a study does, for the processes that it starts.

    Attributes:
        name: Differs from that of every other command.
        root: Folder of the study.
        tasks: All tasks to do, in their order.
        num_processes: Of a launch of one task.
        done: Names of tasks that were finished before.
    """

    name: str
    root: Path
    tasks: Sequence[Task]
    num_processes: int
    done: Sequence[str] = ()

    @property
    def file(self) -> Path:
        return self.root / "logs" / f"session-{self.name}.json"

    def write(self) -> None:
        tasks = [task.as_json() for task in self.tasks]
        record = {"name": self.name, "root": str(self.root), "tasks": tasks, "num_processes": self.num_processes}
        write_json(self.file, record | {"done": list(self.done)})

    @classmethod
    def read(cls, path: Path) -> "Session":
        record = read_json(path)
        return cls(
            record["name"],
            Path(record["root"]),
            [Task(**task) for task in record["tasks"]],
            record["num_processes"],
            record["done"],
        )


@dataclass
class TaskLoop:
    """Does the tasks of a session that no other process does.

    Attributes:
        execute: Does a task, writes what it prints to a file, and returns its exit status.
    """

    session: Session
    execute: Callable[[Task, Path], int]
    states: dict[str, str] = field(default_factory=dict)

    def run(self) -> bool:
        """Works until each task is done or has failed. Returns whether all are done."""
        self.states |= dict.fromkeys(self.session.done, DONE)
        while waiting := self.one_pass():
            if waiting == "others":
                time.sleep(PATIENCE_SECONDS)
        return all(state == DONE for state in self.states.values())

    def one_pass(self) -> str:
        """Does the first task that can be done. Returns what to wait for: nothing, other processes, or one more pass."""
        waiting = ""
        for task in self.session.tasks:
            if self.state(task.name) is not None:
                continue
            needed = [self.state(name) for name in task.needs]
            if FAILED in needed:
                self.states[task.name] = FAILED
                continue
            if None in needed:
                waiting = "others"
                continue
            try:
                with writing_to(self.session.root / "logs", slug(task.name)):
                    if self.state(task.name) is None:
                        self.states[task.name] = self.do(task)
                    return "once more"
            except FolderInUseError:
                waiting = "others"
        return waiting

    def state(self, name: str) -> str | None:
        """Whether a task is done or has failed in this session; None if neither is known."""
        if name not in self.states:
            record = read_record(self.session.root, name)
            if record.get("session") == self.session.name:
                self.states[name] = DONE if record["status"] == 0 else FAILED
        return self.states.get(name)

    def do(self, task: Task) -> str:
        if task.is_finished(self.session.num_processes):  # by another command, since this one has begun
            return DONE
        link(task)
        say(f"[{task.name}] begins")
        started = time.monotonic()
        log = self.session.root / "logs" / f"{slug(task.name)}.log"
        status = self.execute(task, log)
        seconds = round(time.monotonic() - started, 1)
        write_json(
            record_path(self.session.root, task.name),
            {"session": self.session.name, "status": status, "seconds": seconds},
        )
        if status:
            told = f"{last_line(log)} ({log})" if log.is_file() else "see above"
            say(f"[{task.name}] failed with status {status} after {seconds:.1f} s: {told}")
            return FAILED
        if task.kind in STEP_NAMES:
            add_seconds(self.session.root / task.folder / "steps.json", task, seconds)
        say(f"[{task.name}] took {seconds:.1f} s")
        return DONE


def finished_tasks(tasks: Sequence[Task], num_processes: int) -> list[str]:
    """Names of the tasks that are finished. One that needs a task that is not finished is not."""
    done: list[str] = []
    bar = tqdm(tasks, desc="What is finished?", unit="step", leave=False, delay=2, disable=None)  # models are read
    for task in bar:
        if all(need in done for need in task.needs) and task.is_finished(num_processes):
            done.append(task.name)
    return done


def session_name() -> str:
    """A name that no other command has."""
    return f"{os.getpid()}-{time.time_ns():x}"


def say(text: str) -> None:
    print(text, flush=True)


def slug(name: str) -> str:
    return name.replace("/", "--")


def record_path(root: Path, name: str) -> Path:
    return root / "logs" / f"{slug(name)}.json"


def read_record(root: Path, name: str) -> dict[str, Any]:
    """How a task ended last: `session`, `status` and `seconds`; empty where it never did."""
    try:
        record = json.loads(record_path(root, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and {"session", "status", "seconds"} <= record.keys() else {}


def last_line(log: Path) -> str:
    """The last line that a task printed, which says why it failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or [line for line in lines if line.strip()] or ["it printed nothing"])[-1]


def add_seconds(path: Path, task: Task, seconds: float) -> None:
    """Adds a step to the `steps.json` of a point, which the page of `circuitseer report` shows."""
    record: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        record = read_json(path)
    shown = redact_command(["circuitseer", task.kind, *task.arguments])
    write_json(path, {**record, STEP_NAMES[task.kind]: {"command": shown, "seconds": seconds}})


def link(task: Task) -> None:
    """Puts what other tasks computed into the folder of a step, as hard links where the disk has them."""
    for source, names in task.links:
        for name in names:
            found = Path(source) / name
            files = [found] if found.is_file() else [each for each in sorted(found.rglob("*")) if each.is_file()]
            for file in files:
                if not file.name.startswith(".") and not file.name.startswith("_"):
                    _link(file, Path(task.output_dir) / file.relative_to(source))


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # another disk, or one without links
        temporary.write_bytes(source.read_bytes())
    os.replace(temporary, target)
