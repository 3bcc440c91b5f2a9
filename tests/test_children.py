"""Nothing that a run has started goes on after its end: steps, what they started, and the ranks of launches."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from circuitseer_trl.children import run_fork
from tests.conftest import ROOT
from tests.helpers.launch import ENVIRONMENT, wait_until

STEP = "tests.programs.stepping_rank"
LAUNCH = ["-m", "circuitseer_trl.distributed.launcher", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
LAUNCH += ["--num_processes", "2", "--main_process_port", "0"]
# Waits with a child of its own, and takes no notice of SIGTERM.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
rank = int(os.fork() == 0)
open(f"{sys.argv[1]}/pid{rank}", "w").write(str(os.getpid()))
time.sleep(600)
"""


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


class Run:
    """A run with one step, and the processes that have named themselves in its folder."""

    def __init__(self, folder: Path, *words: str, program: str = "-m tests.programs.run_of_steps", **options) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, *program.split(" ", 1), *words],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def pids(self, number: int) -> list[int]:
        """The processes, once there are so many."""
        files = [self.folder / f"pid{rank}" for rank in range(number)]
        assert wait_until(lambda: all(file.exists() and file.read_text() for file in files)), self.end()
        return [int(file.read_text()) for file in files]

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=120)
        return self.process.returncode, errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def started(*words: str, **options) -> Run:
        runs.append(Run(tmp_path, *words, **options))
        return runs[-1]

    yield started
    for run in runs:
        for file in tmp_path.glob("pid*"):
            if alive(pid := int(file.read_text())):
                os.kill(pid, signal.SIGKILL)
        run.process.kill()
        run.process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_run_ends_its_step(start, tmp_path: Path, signum: int):
    run = start(sys.executable, "-m", STEP, str(tmp_path), preexec_fn=lambda: signal.signal(signum, signal.SIG_DFL))
    [step] = run.pids(1)
    run.process.send_signal(signum)
    assert run.end() == (128 + signum, "\nStopped. Run the same command again to continue.\n")
    assert not alive(step)


def start_run_in_run(start: Callable[..., Run], tmp_path: Path) -> tuple[Run, int]:
    """Starts a run whose step is a run, and returns it with the process of the innermost step."""
    run = start(sys.executable, "-m", "tests.programs.run_of_steps", sys.executable, "-m", STEP, str(tmp_path))
    [step] = run.pids(1)
    return run, step


def test_a_run_in_a_run_says_it_once(start, tmp_path: Path):
    run, step = start_run_in_run(start, tmp_path)
    run.process.terminate()
    assert run.end() == (143, "\nStopped. Run the same command again to continue.\n")
    assert not alive(step)


def test_a_run_that_is_killed_takes_its_steps_along(start, tmp_path: Path):
    run, step = start_run_in_run(start, tmp_path)
    run.process.kill()
    assert wait_until(lambda: not alive(step))


def test_what_a_step_has_started_ends_too_even_if_it_takes_no_notice(start, tmp_path: Path):
    program = "-c import sys; from circuitseer_trl import children; children.GRACE_SECONDS = 0.5; "
    program += "children.run_child(sys.argv[1:])"
    run = start(sys.executable, "-c", STUBBORN, str(tmp_path), program=program)
    pids = run.pids(2)
    assert len(set(pids)) == 2
    run.process.terminate()
    run.end()
    assert wait_until(lambda: not any(map(alive, pids)), 5)


def test_a_hangup_that_is_ignored_stays_ignored(start, tmp_path: Path):
    run = start(
        *(sys.executable, "-m", STEP, str(tmp_path)),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    [step] = run.pids(1)
    run.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert alive(step)
    assert run.process.poll() is None


@pytest.mark.thorough
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_ranks_of_a_launch_end_with_the_run(start, tmp_path: Path, signum: int):
    run = start(
        *(sys.executable, *LAUNCH, "-m", STEP, str(tmp_path)),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ranks = run.pids(2)
    run.process.send_signal(signum)
    status, errors = run.end()
    assert wait_until(lambda: not any(map(alive, ranks)))
    if signum != signal.SIGKILL:
        assert (status, errors) == (128 + signum, "\nStopped. Run the same command again to continue.\n")


@pytest.mark.thorough
def test_ranks_end_with_a_launcher_that_is_killed(start, tmp_path: Path):
    run = start(
        *("--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml"), "--num_processes", "2"),
        *("--main_process_port", "0", "-m", STEP, str(tmp_path)),
        program="-m accelerate.commands.launch",
    )
    ranks = run.pids(2)
    run.process.kill()
    assert wait_until(lambda: not any(map(alive, ranks)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("failure", "status", "lines"),
    [
        ("mistake", 2, ["error: all ranks have it"]),
        ("mistake0", 2, ["error: one rank has it"]),
        ("mistake1", 2, ["error: Another process failed. rank 1: FileNotFoundError: one rank has it"]),
    ],
)
def test_a_mistake_in_a_launch_is_one_line(start, tmp_path: Path, failure: str, status: int, lines: list[str]):
    run = start(sys.executable, *LAUNCH, "-m", STEP, str(tmp_path), failure)
    found, errors = run.end()
    assert (found, [line for line in errors.splitlines() if "[Gloo]" not in line]) == (status, lines)


@pytest.mark.thorough
def test_a_bug_on_one_rank_has_one_traceback(start, tmp_path: Path):
    status, errors = start(sys.executable, *LAUNCH, "-m", STEP, str(tmp_path), "bug1").end()
    assert (status, errors.count("Traceback"), errors.count("KeyError: 'a bug'")) == (1, 1, 1)


FORKING = """
import os, sys, time
from circuitseer_trl.children import run_fork
from circuitseer_trl.command_line import run_command

def work():
    open(sys.argv[1] + "/pid1", "w").write(str(os.getpid()))
    time.sleep(600)

open(sys.argv[1] + "/pid0", "w").write(str(os.getpid()))
sys.exit(run_command(lambda words: run_fork(work)))
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_copy_ends_with_its_process(tmp_path: Path, start: Callable[..., Run], signum: int):
    program = tmp_path / "forking.py"
    program.write_text(FORKING)
    run = start(str(tmp_path), program=str(program))
    parent, copy = run.pids(2)
    os.kill(parent, signum)
    assert wait_until(lambda: not alive(parent) and not alive(copy), 20)
    assert run.end()[0] == (143 if signum == signal.SIGTERM else -9)


def test_a_copy_leaves_nothing_but_its_status(capfd: pytest.CaptureFixture[str]):
    held = []

    def fails() -> int:
        held.append(1)
        os.environ["LEFT_BEHIND"] = "1"
        raise RuntimeError("in the copy")

    assert run_fork(lambda: 3) == 3
    assert run_fork(fails) == 1
    assert "RuntimeError: in the copy" in capfd.readouterr().err
    assert held == []
    assert "LEFT_BEHIND" not in os.environ
