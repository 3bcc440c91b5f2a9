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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

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
    parent = os.getpid()
    with _noting_signals() as noted:
        process = subprocess.Popen(
            words, process_group=0, preexec_fn=lambda: die_with(parent), env=os.environ | {CHILD_VARIABLE: "1"}
        )
        try:
            while not noted:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=0.5)
        finally:
            if process.returncode is None:
                end_group(process)
    raise Stopped(noted[0], reported=process.returncode == 128 + signal.SIGTERM)
