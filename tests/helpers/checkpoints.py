"""Folders of checkpoints and models as transformers and DeepSpeed leave them, with tiny tensors."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from circuitseer_trl.training.checkpoints import write_record


def write_weights(folder: Path, value: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.full((64, 4), value)}, folder / "model.safetensors")


def write_checkpoint(run: Path, step: int, *, world_size: int = 1, zero_stage: int = 0, record: bool = True) -> Path:
    """A checkpoint of a run.

    Args:
        zero_stage: Of DeepSpeed; 0 is without DeepSpeed.
        record: Whether it has our record of its files.
    """
    folder = run / f"checkpoint-{step}"
    write_weights(folder, value=step)
    tensors = {"state": torch.arange(4096.0) + step}
    names = ["scheduler.pt", "optimizer.pt"]
    if zero_stage:
        (folder / "latest").write_text(f"global_step{step}")
        (folder / f"global_step{step}").mkdir(exist_ok=True)
        names = [f"global_step{step}/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(world_size)]
        if zero_stage == 3:
            names += [f"global_step{step}/zero_pp_rank_{rank}_mp_rank_00_model_states.pt" for rank in range(world_size)]
        else:
            names.append(f"global_step{step}/mp_rank_00_model_states.pt")
    names += ["rng_state.pth"] if world_size == 1 else [f"rng_state_{rank}.pth" for rank in range(world_size)]
    for name in names:
        torch.save(tensors, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    if record:
        write_record(folder, world_size)
    return folder
