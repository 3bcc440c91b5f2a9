"""What does a trained model depend on? Says without torch whether a training is finished."""

import os
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.digests import NO_CONTENT
from circuitseer_trl.finished import FinishedStep
from circuitseer_trl.named_files import TRAINING_KINDS
from circuitseer_trl.recipe import raw_values
from circuitseer_trl.training.selection_files import selection_files

# Keys whose values may name files, beside those of the pool and the model.
FILES = ("decontaminate_against", "chat_template_path", "deepspeed", "resume_from_checkpoint")


def training_step(words: Sequence[str], num_processes: int | None = None) -> FinishedStep:
    """The step of a command line of `train-sft`.

    The settings are as they are written, since TRL's classes, which check them, take seconds to load. So a training is done again
    for `5e-5` in place of `5.0e-5`; it then finds the finished model itself.

    Args:
        num_processes: Of the launch; by default that of this process.
    """
    values = raw_values(words, TRAINING_KINDS)
    if "total_batch_size" not in values:  # then the number of processes decides how many rows a step sees
        values["num_processes"] = num_processes or int(os.environ.get("WORLD_SIZE", "1"))
    local = [values.get("dataset_name"), values.get("model_name_or_path")]
    if selection := values.get("selection_file"):
        local += map(str, selection_files(selection))
        values["selection_file"] = "selection.parquet"  # its content counts, and not its place
    inputs = [values.get(key) for key in FILES]
    # A recipe of a selection names models and files of its own.
    unknown = "selection_recipe" in values or "output_dir" not in values or None in local
    return FinishedStep("train-sft", str(values.get("output_dir", "")), values, local, inputs, own_code=unknown)


def training_products(output_dir: str | Path) -> list[str]:
    """The files of a trained model, without its checkpoints."""
    return sorted(
        path.name
        for path in Path(output_dir).iterdir()
        if path.is_file() and path.name not in NO_CONTENT and not path.name.startswith((".", "_"))
    )
