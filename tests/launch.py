"""Starts modules as real processes, as a user does."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
}


def launch(
    module: str, *arguments: object, num_processes: int = 1, timeout: float = 300
) -> subprocess.CompletedProcess:
    """Runs `python -m module`, for more than one process under `accelerate launch`, and returns it with its output."""
    words = [sys.executable, "-m"]
    if num_processes > 1:
        # Not `--cpu`: accelerate 1.15 then starts one process, whatever `--num_processes` says.
        words += ["accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
        words += ["--num_processes", str(num_processes), "--main_process_port", "0", "-m"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*words, module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
