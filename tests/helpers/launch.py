"""Starts modules and scripts as real processes, as a user does."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from tests.conftest import ROOT

Engine = Literal["cpu", "zero3"]  # a file of accelerate_configs/
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
    # DeepSpeed builds a small extension with ninja, which pip installs beside python.
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def start(
    program: str,
    *arguments: object,
    num_processes: int = 1,
    engine: Engine = "cpu",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Starts `python -m program`, or the script `program`, for more than one process under `accelerate launch`.

    Args:
        environment: More variables of the environment.
    """
    words = [sys.executable]
    if num_processes > 1:
        # Not `--cpu`: accelerate 1.15 then starts one process, whatever `--num_processes` says.
        config = ROOT / "accelerate_configs" / f"{engine}.yaml"
        words += ["-m", "accelerate.commands.launch", "--config_file", str(config), "--mixed_precision", "no"]
        words += ["--num_processes", str(num_processes), "--main_process_port", "0"]
    words += [program] if program.endswith(".py") else ["-m", program]
    return subprocess.Popen(
        [*words, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Waits until a condition holds. Returns whether it does in the end."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def kill(process: subprocess.Popen[str]) -> None:
    """Ends a process and all that it started with SIGKILL, the ranks of a launch included, and waits for their end."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.communicate()
    psutil.wait_procs(family, timeout=60)


def launch(
    program: str,
    *arguments: object,
    num_processes: int = 1,
    engine: Engine = "cpu",
    timeout: float = 300,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program as `start` does, and returns it with its output."""
    process = start(program, *arguments, num_processes=num_processes, engine=engine, environment=environment)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
