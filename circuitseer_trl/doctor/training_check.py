"""Does ZeRO-3 on two processes train as one process does? Two steps, with `train-sft` and real DeepSpeed."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file

from circuitseer_trl.artifacts import read_json, write_text
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.programs.run_program import ON_CPU, run_program
from circuitseer_trl.doctor.subject import example_texts
from circuitseer_trl.named_files import find_file
from circuitseer_trl.training.compile_locks import cpu_extension_is_built

NUM_ROWS, NUM_STEPS = 16, 2
SECONDS = 600.0
# Loss in nats, and distance of the weights over how far they moved. Sums over processes have another order; on CUDA
# kernels also differ (not measured yet), and Adam makes a step of full size of the smallest gradients.
LOSS_BOUNDS = {"cpu": 1e-5, "cuda": 1e-3}
WEIGHT_BOUNDS = {"cpu": 1e-3, "cuda": 5e-2}


def announcement() -> str:
    built = cpu_extension_is_built() or torch.cuda.device_count() >= 2
    return "Starts DeepSpeed, and compares." + ("" if built else " Its first start on a CPU compiles for minutes.")


def _device() -> str:
    return "cuda" if torch.cuda.device_count() >= 2 else "cpu"


def _train(model: str, pool: Path, output: Path, num_processes: int) -> None:
    """Runs `train-sft` on one process, or on two with ZeRO-3; the same 4 rows a step."""
    device = _device()
    words = []
    if num_processes > 1:
        config = find_file("zero3", ("accelerate_configs",))
        words += ["-m", "accelerate.commands.launch", "--config_file", str(config), "--mixed_precision", "no"]
        words += ["--num_processes", str(num_processes), "--main_process_port", "0"]
    words += ["-m", "circuitseer_trl.scripts.train_sft", "--config", str(find_file("tiny_cpu", ("sft",)))]
    words += ["--dataset_name", str(pool), "--model_name_or_path", model, "--output_dir", str(output)]
    words += ["--max_steps", str(NUM_STEPS), "--dtype", "float32", "--use_cpu", str(device == "cpu").lower()]
    words += ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1"]
    words += ["--total_batch_size", "4", "--save_steps", str(NUM_STEPS), "--system_prompt", ""]
    one_gpu = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    alone: Mapping[str, str] = one_gpu if num_processes == 1 else {}
    run_program(words, SECONDS, {"HF_HUB_OFFLINE": "1"} | dict(ON_CPU if device == "cpu" else alone))


def _losses(folder: Path) -> list[float]:
    history = read_json(folder / f"checkpoint-{NUM_STEPS}" / "trainer_state.json")["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value.double() for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


def compare_runs(start: Path, one: Path, two: Path, device: str) -> list[Outcome]:
    """The losses and the weights of two runs from the same model."""
    ours, theirs = _losses(two), _losses(one)
    if len(ours) != NUM_STEPS or len(theirs) != NUM_STEPS:
        return [Outcome("ZeRO-3", "differs", detail=f"{len(ours)} and {len(theirs)} steps are logged, not {NUM_STEPS}")]
    loss_error = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    before, alone, sharded = _weights(start), _weights(one), _weights(two)
    moved = sum((alone[name] - before[name]).square().sum() for name in alone) ** 0.5
    if alone.keys() != sharded.keys() or not moved > 0:
        return [Outcome("ZeRO-3", "differs", detail="the saved models have other tensors, or training changed nothing")]
    apart = sum((alone[name] - sharded[name]).square().sum() for name in alone) ** 0.5
    detail = f"{NUM_STEPS} steps, 2 processes ({device}) against 1"
    return [
        compared("ZeRO-3, losses", loss_error, LOSS_BOUNDS[device], "nats", detail),
        compared("ZeRO-3, weights", float(apart / moved), WEIGHT_BOUNDS[device], "of their move", detail),
    ]


def check_zero3(model: str) -> list[Outcome]:
    """Trains a small model twice, and compares.

    Args:
        model: Folder of the model with its weights in safetensors.
    """
    if find_spec("deepspeed") is None:
        raise CannotError("deepspeed is not installed: pip install 'circuitseer-trl[train]'")
    device = _device()
    if device == "cpu" and shutil.which("g++") is None:
        raise CannotError("DeepSpeed needs g++ on a CPU")
    with tempfile.TemporaryDirectory() as folder:
        pool, one, two = (Path(folder) / name for name in ("pool.jsonl", "one", "two"))
        rows = [{"problem": row.problem, "solution": row.completion} for row in example_texts(NUM_ROWS)]
        write_text(pool, "".join(json.dumps(row) + "\n" for row in rows))
        _train(model, pool, two, 2)
        _train(model, pool, one, 1)
        return compare_runs(Path(model), one, two, device)
