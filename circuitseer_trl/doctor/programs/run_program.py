"""How does a check run a program of its own? With a time limit, and without the doctor's memory and its launch."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from circuitseer_trl.children import die_with

# Of a launch that the doctor may have been started in.
_LAUNCH_VARIABLES = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}


class ProgramError(RuntimeError):
    """A program failed or did not end in time."""


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _LAUNCH_VARIABLES}
    # DeepSpeed looks for ninja on PATH, and pip puts it beside python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return own | {"PATH": path, "TOKENIZERS_PARALLELISM": "false"} | dict(more)


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends a program and what it started: they have a session of their own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _last_error(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line.split(":")[0]]
    return (named or lines or ["it printed nothing"])[-1]


def run_together(
    words: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], seconds: float, advice: str = ""
) -> list[str]:
    """Runs Python programs at the same time, and returns what they printed. All are ended at the end of the call.

    Args:
        words: Arguments of Python for each program.
        environments: More variables for each program.
        seconds: Limit of time.
        advice: What the user can do where they do not end in time.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, each)],
            env=_environment(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=functools.partial(die_with, os.getpid()),
        )
        for each, more in zip(words, environments, strict=True)
    ]
    try:
        printed = [process.communicate(timeout=seconds) for process in processes]
    except subprocess.TimeoutExpired as error:
        raise ProgramError(" ".join(f"no answer within {seconds:.0f} s. {advice}".split())) from error
    finally:
        for process in processes:
            _end(process)
    for process, (_, errors) in zip(processes, printed, strict=True):
        if process.returncode != 0:
            raise ProgramError(f"exit status {process.returncode}: {_last_error(errors)}")
    return [output for output, _ in printed]


def run_program(words: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Runs one Python program, and returns what it printed."""
    return run_together([words], [environment or {}], seconds)[0]
