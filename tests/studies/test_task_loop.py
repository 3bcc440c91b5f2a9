"""The order of tasks, what a failure stops, and processes that share a folder."""

import threading
from pathlib import Path

import pytest

from circuitseer_trl.artifacts import write_json
from circuitseer_trl.locks import writing_to
from circuitseer_trl.studies.task_loop import DONE, FAILED, Session, TaskLoop, link, record_path
from circuitseer_trl.studies.tasks import Task
from tests.helpers.launch import start


def task(root: Path, name: str, *needs: str) -> Task:
    return Task(name, "select-data", name, str(root / name), [], list(needs), [])


def chain(root: Path) -> list[Task]:
    return [task(root, "heads"), task(root, "a", "heads"), task(root, "b", "heads"), task(root, "c", "b")]


def test_tasks_follow_what_they_need(tmp_path: Path):
    did: list[str] = []
    tasks = chain(tmp_path)
    loop = TaskLoop(Session("x", tmp_path, [tasks[3], *tasks[:3]], 1), lambda each, log: did.append(each.name) or 0)
    assert loop.run()
    assert did == ["heads", "a", "b", "c"]


def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def fails(each: Task, log: Path) -> int:
        log.write_text("some words\nerror: the disk is full\na last line\n")
        return 1 if each.name == "b" else 0

    loop = TaskLoop(Session("x", tmp_path, chain(tmp_path), 1), fails)
    assert not loop.run()
    assert loop.states == {"heads": DONE, "a": DONE, "b": FAILED, "c": FAILED}
    assert "[b] failed with status 1 after" in capsys.readouterr().out
    did: list[str] = []
    again = TaskLoop(Session("y", tmp_path, chain(tmp_path), 1, ["heads", "a"]), lambda t, log: did.append(t.name) or 0)
    assert again.run()
    assert did == ["b", "c"]


def test_what_another_process_of_the_session_did_is_not_done_again(tmp_path: Path):
    write_json(record_path(tmp_path, "heads"), {"session": "x", "status": 0, "seconds": 1.0})
    write_json(record_path(tmp_path, "a"), {"session": "another", "status": 0, "seconds": 1.0})
    write_json(record_path(tmp_path, "b"), {"session": "x", "status": 2, "seconds": 1.0})
    did: list[str] = []
    loop = TaskLoop(Session("x", tmp_path, chain(tmp_path), 1), lambda each, log: did.append(each.name) or 0)
    assert not loop.run()
    assert did == ["a"]


HOLDER = """
import sys, time
from circuitseer_trl.locks import writing_to
with writing_to(sys.argv[1], "a"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_task_that_another_process_does_is_waited_for(tmp_path: Path):
    program = tmp_path / "holder.py"
    program.write_text(HOLDER)
    process = start(str(program), tmp_path / "logs")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    did: list[str] = []
    tasks = [task(tmp_path, "a"), task(tmp_path, "b")]

    def work(each: Task, log: Path) -> int:
        did.append(each.name)
        if each.name == "b":  # the other process ends after it
            threading.Timer(0.3, process.kill).start()
        return 0

    assert TaskLoop(Session("x", tmp_path, tasks, 1), work).run()
    process.communicate()
    assert did == ["b", "a"]
    with writing_to(tmp_path / "logs", "a"):
        pass


def test_links_are_the_files_of_other_tasks(tmp_path: Path):
    source, target = tmp_path / "shared", tmp_path / "point"
    (source / "scores").mkdir(parents=True)
    for name in ("scores/part-0", "scores.json", "finished.json", "scores/.part-1.tmp"):
        (source / name).write_text(name)
    for _ in range(2):
        link(Task("x", "select-data", "x", str(target), [], [], [(str(source), ["scores", "scores.json", "fitted"])]))
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["scores.json", "scores/part-0"]
    assert (target / "scores.json").samefile(source / "scores.json")
