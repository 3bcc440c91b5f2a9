"""The Slurm example hands every node's launcher its flags; Slurm's own commands are stand-ins."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser

from tests.conftest import ROOT

COMMANDS = {
    "scontrol": 'printf "node-a\\nnode-b\\n"',
    "srun": 'shift; export SLURM_PROCID=1; exec "$@"',  # the second node's task
    "accelerate": 'printf "%s\\n" "$@"',
}


def submit(folder: Path, *words: str, num_nodes: int = 2) -> subprocess.CompletedProcess:
    for name, body in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_NNODES": str(num_nodes), "SLURM_JOB_NAME": "sft"}
    environment = os.environ | slurm | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    script = ROOT / "examples" / "slurm" / "train.sbatch"
    return subprocess.run(["bash", str(script), *words], env=environment, cwd=ROOT, text=True, capture_output=True)


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_launch_of_a_node(tmp_path, num_nodes):
    done = submit(tmp_path, "--config", "a recipe.yaml", num_nodes=num_nodes)
    assert done.returncode == 0, done.stderr
    command, *words = done.stdout.splitlines()
    assert command == "launch"
    launch = launch_command_parser().parse_args(words)
    assert (launch.num_machines, launch.num_processes, launch.machine_rank) == (num_nodes, 8 * num_nodes, 1)
    assert (launch.main_process_ip, launch.main_process_port) == ("node-a", 29500)
    assert yaml.safe_load((ROOT / launch.config_file).read_text())["deepspeed_config"]["zero_stage"] == 3
    assert launch.training_script == "circuitseer_trl.scripts.train_sft"
    assert launch.training_script_args == ["--config", "a recipe.yaml"]


def test_a_job_of_an_array_does_its_point(tmp_path):
    listing = 'case "$*" in *--list_points) printf "a.s0.t0\\nb.s0.t0\\n";; *) echo "$@";; esac'
    (tmp_path / "circuitseer").write_text(f"#!/bin/bash\n{listing}\n")
    (tmp_path / "circuitseer").chmod(0o755)
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": "1", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = ROOT / "examples" / "slurm" / "study.sbatch"
    done = subprocess.run(["bash", script, "x.yaml", "runs/x"], env=environment, text=True, capture_output=True)
    assert done.stdout == "study x.yaml --output_dir runs/x --only b.s0.t0\n", done.stderr
