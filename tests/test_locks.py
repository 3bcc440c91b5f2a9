"""A folder has one writer at a time; a dead one does not count."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from circuitseer_trl.digests import content_digest
from circuitseer_trl.locks import _lock, writing_to
from tests.conftest import ROOT
from tests.helpers.launch import launch

LOCK = "_writing_output.lock"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold() -> Iterator[Start]:
    """Starts another process that locks a folder, and returns it when the lock is there."""
    holders = []

    def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
        words = (sys.executable, "-m", "tests.programs.lock_holder", str(folder), *words)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        holders.append(subprocess.Popen(words, cwd=ROOT, **pipes))
        assert int(holders[-1].stdout.readline()) == holders[-1].pid
        return holders[-1]

    yield start
    for holder in holders:
        try:
            os.killpg(holder.pid, 9)
        except ProcessLookupError:
            continue
        finally:
            holder.communicate()


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path, hold: Start):
    first = hold(tmp_path)
    message = rf"Another run writes to {tmp_path} \(process {first.pid} on {socket.gethostname()}, since 20.*\)\. Wait "
    with pytest.raises(ValueError, match=message), writing_to(tmp_path):
        pass
    first.communicate("")
    assert list(tmp_path.iterdir()) == []
    with writing_to(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_tasks_of_one_array_share_a_folder(tmp_path: Path, hold: Start):
    first = hold(tmp_path, "shared")
    with writing_to(tmp_path, shared=True):
        pass
    with pytest.raises(ValueError, match="Another run writes to"), writing_to(tmp_path):
        pass
    first.communicate("")
    assert list(tmp_path.iterdir()) == []
    first = hold(tmp_path)
    with pytest.raises(ValueError, match="Another run writes to"), writing_to(tmp_path, shared=True):
        pass


def test_the_lock_of_a_run_that_was_killed_is_none(tmp_path: Path, hold: Start):
    first = hold(tmp_path, "fork")  # what the run has forked lives on
    first.kill()
    first.wait()
    assert (tmp_path / LOCK).exists()
    with writing_to(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_was_moved_is_locked_where_it_is(tmp_path: Path, hold: Start):
    first = hold(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    with writing_to(tmp_path / "old"):
        pass
    with pytest.raises(ValueError, match="Another run writes to"), writing_to(tmp_path / "new"):
        pass
    with writing_to(tmp_path / "old"):
        first.communicate("")
        assert (tmp_path / "old" / LOCK).exists()  # not deleted by the run that was moved away


def test_a_step_may_lock_what_its_run_has_locked(tmp_path: Path, hold: Start):
    with writing_to(tmp_path), writing_to(tmp_path), writing_to(tmp_path, "steps"):
        pass
    with writing_to(tmp_path, "steps"):
        hold(tmp_path)


def test_the_lock_is_no_part_of_a_folders_content(tmp_path: Path):
    (tmp_path / "model.safetensors").write_text("x")
    before = content_digest(tmp_path)
    with writing_to(tmp_path):
        assert content_digest(tmp_path) == before
        assert (tmp_path / LOCK).name.startswith("_")  # `push_to_hub` of transformers leaves such files out


def test_a_folder_that_stays_empty_is_not_left(tmp_path: Path):
    with pytest.raises(RuntimeError), writing_to(tmp_path / "made"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with writing_to(tmp_path):
        assert list(tmp_path.iterdir()) == []
    assert "has no locks" in caplog.text


def _try(folder: Path, start: threading.Event, counts: "multiprocessing.Queue[int]") -> None:
    start.wait()
    taken = 0
    for _ in range(300):
        try:
            with writing_to(folder):
                (folder / "alone").touch(exist_ok=False)  # fails if another is in here
                (folder / "alone").unlink()
                taken += 1
        except ValueError:
            pass
    counts.put(taken)


def test_never_two_writers_while_runs_come_and_go(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    start, counts = context.Event(), context.Queue()
    runs = [context.Process(target=_try, args=(tmp_path, start, counts)) for _ in range(4)]
    for run in runs:
        run.start()
    start.set()
    taken = [counts.get(timeout=60) for _ in runs]
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert min(taken) > 0


def test_an_open_lock_is_closed_when_it_is_refused(tmp_path: Path, hold: Start):
    hold(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            _lock(tmp_path / LOCK)
    assert len(os.listdir("/proc/self/fd")) == before


COMMANDS = {
    "find-heads": "--dataset_name {pool} --reference_model {model} --output_dir {out}",
    "score-pool": "--dataset_name {pool} --method random --output_dir {out}",
    "select-data": "--dataset_name {pool} --method random --output_dir {out}",
    "train-sft": "--dataset_name {pool} --model_name_or_path {model} --output_dir {out} --use_cpu --bf16 false",
    "evaluate": "--model_name_or_path {model} --output_dir {out} --benchmarks math500 --benchmarks_dir {out}",
    "pool-benchmark": "--dataset_name {pool} --benchmarks_dir {out}/.. --name {name}",
}


@pytest.mark.thorough
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_a_folder_that_is_written_to(
    command: str, tmp_path: Path, pool_file: str, tiny_model: str, hold: Start, capsys: pytest.CaptureFixture[str]
):
    from circuitseer_trl.scripts.main import main

    folder = tmp_path / "run"
    hold(folder)
    words = COMMANDS[command].format(pool=pool_file, model=tiny_model, out=folder, name=folder.name)
    assert main([command, *words.split()]) == 2
    assert f"error: Another run writes to {folder} (process " in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [LOCK]


@pytest.mark.thorough
def test_a_launch_is_refused_in_one_line(tmp_path: Path, pool_file: str, hold: Start):
    hold(tmp_path)
    words = ["circuitseer_trl.scripts.select_data", "--dataset_name", pool_file, "--method", "random"]
    done = launch(*words, "--output_dir", tmp_path, num_processes=2)
    assert done.returncode != 0
    assert done.stderr.count("error: Another run writes to") == 1
