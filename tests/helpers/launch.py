"""Starts modules as real processes, as a user does."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conftest import ROOT

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
}


def start(module: str, *arguments: object, num_processes: int = 1) -> subprocess.Popen:
    """Starts `python -m module`, for more than one process under `accelerate launch`."""
    words = [sys.executable, "-m"]
    if num_processes > 1:
        # Not `--cpu`: accelerate 1.15 then starts one process, whatever `--num_processes` says.
        words += ["accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
        words += ["--num_processes", str(num_processes), "--main_process_port", "0", "-m"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [*words, module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen) -> None:
    """Ends a process and all that it started with SIGKILL, the ranks of a launch included, and waits for their end."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.communicate()
    psutil.wait_procs(family, timeout=60)


def launch(
    module: str, *arguments: object, num_processes: int = 1, timeout: float = 300
) -> subprocess.CompletedProcess:
    """Runs a module as `start` does, and returns it with its output."""
    process = start(module, *arguments, num_processes=num_processes)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
