"""How does a child process end with its parent? The steps of a run must not go on writing after the run was ended.

A child has a process group of its own. A signal that ends the parent ends that group: with SIGTERM, and after a grace time with
SIGKILL. A parent that gets SIGKILL itself cannot do that. There the kernel sends SIGTERM to its child (Linux only), and a
launcher that gets it ends its ranks. Processes that a step has started, such as the workers of `dataset_num_proc`, get nothing.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 40.0  # torch's launcher gives its ranks 30 seconds
CHILD_VARIABLE = "CIRCUITSEER_CHILD"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Stopped(KeyboardInterrupt):
    """This process was asked to end, and has ended its children.

    Attributes:
        status: Exit status of this process: 128 and the number of the signal.
        reported: Whether a child has already said that it was stopped.
    """

    def __init__(self, signum: int, reported: bool) -> None:
        super().__init__(signum)
        self.status, self.reported = 128 + signum, reported


def die_with(parent: int) -> None:
    """Has the kernel send SIGTERM to this process when the thread ends that started it."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGTERM)


def die_with_launcher() -> None:
    """Ends this process when the launcher ends that started it. torch's ranks would outlive a launcher that gets SIGKILL."""
    if os.getppid() != 1 and ("TORCHELASTIC_RUN_ID" in os.environ or CHILD_VARIABLE in os.environ):
        die_with(os.getppid())


@contextmanager
def _noting_signals() -> Iterator[list[int]]:
    """Lists the signals that arrive in the block, in place of their actions. A signal that is ignored stays ignored."""
    noted: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        noted.append(signum)

    in_main = threading.current_thread() is threading.main_thread()  # another thread cannot set actions
    before = {
        each: signal.signal(each, note) for each in ENDING if in_main and signal.getsignal(each) != signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for each, action in before.items():
            signal.signal(each, action)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends a child and all processes of its group, and waits for the child's end."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GRACE_SECONDS)


def run_child(words: Sequence[str]) -> int:
    """Runs a process to its end and returns its exit status.

    Raises:
        Stopped: A signal asked this process to end. The child has ended before.
    """
    return run_children([(words, {})])[0]


def run_children(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> list[int]:
    """Runs processes at the same time, to the end of the last, and returns their exit statuses.

    Args:
        commands: The words of each, and more variables of its environment.

    Raises:
        Stopped: A signal asked this process to end. The children have ended before.
    """
    parent = os.getpid()
    processes: list[subprocess.Popen[bytes]] = []
    with _noting_signals() as noted:
        try:
            for words, variables in commands:
                environment = os.environ | {CHILD_VARIABLE: "1", **variables}
                processes.append(
                    subprocess.Popen(words, process_group=0, preexec_fn=lambda: die_with(parent), env=environment)
                )
            while not noted:
                with suppress(subprocess.TimeoutExpired):
                    return [process.wait(timeout=0.5) for process in processes]
        finally:
            for process in processes:
                if process.returncode is None:
                    end_group(process)
    raise Stopped(noted[0], reported=any(process.returncode == 128 + signal.SIGTERM for process in processes))


def run_fork(work: Callable[[], int]) -> int:
    """Runs `work` in a copy of this process, with a process group of its own, and returns its exit status.

    The copy starts with all that is imported here, and leaves nothing behind. Start no threads before.

    Raises:
        Stopped: A signal asked this process to end. The copy has ended before.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with _noting_signals() as noted:
        pid = os.fork()
        if pid == 0:
            _as_copy(work, parent, noted)
        with suppress(OSError):
            os.setpgid(pid, pid)  # here too, since either may come first
        asked = 0.0
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                break
            if noted and not asked:
                asked = time.monotonic()
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGTERM)
            elif asked and time.monotonic() > asked + GRACE_SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(0.02)
    if noted:
        raise Stopped(noted[0], reported=False)
    return abs(os.waitstatus_to_exitcode(status))


def _as_copy(work: Callable[[], int], parent: int, noted: list[int]) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        for each in ENDING:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        die_with(parent)
        status = 128 + noted[0] if noted else work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
