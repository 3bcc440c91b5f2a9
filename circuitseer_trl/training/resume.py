"""Is a run finished, and where does it go on? The records and checkpoints in the folder of a model."""

from pathlib import Path
from typing import Any

from accelerate.logging import get_logger

from circuitseer_trl.artifacts import check_format, read_json
from circuitseer_trl.training.checkpoints import last_whole_checkpoint, wrong_checkpoint, wrong_weights
from circuitseer_trl.training.training_values import named_checkpoint

logger = get_logger(__name__)

SETTINGS_FILE = "training_settings.json"
RESULT_FILE = "training.json"
_UNKNOWN = (
    "So it is not known with which settings its checkpoints were made. Choose another `output_dir`, or delete that one."
)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    keys = sorted(old.keys() | new.keys())
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def is_finished(output_dir: str | Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds a finished run of these settings. One warning says what is broken of one that was finished."""
    folder = Path(output_dir)
    file = folder / RESULT_FILE
    if not file.is_file():
        return False
    wrong, result = None, None
    try:
        result = read_json(file)
    except ValueError as error:
        wrong = str(error)
    if wrong is None and not (isinstance(result, dict) and isinstance(result.get("settings"), dict)):
        wrong = f"{file} does not hold the settings of a training."
    if wrong is None:
        assert result is not None
        if differences(result["settings"], settings):
            return False
        wrong = wrong_weights(folder, result.get("weights"))
    if wrong is not None:
        logger.warning("The model in %s is not whole and is made again: %s", folder, wrong)
    return wrong is None


def recorded_settings(file: Path) -> dict[str, Any] | None:
    """The settings of the run in a folder; None if they are not recorded.

    Raises:
        ValueError: The record is broken, or another version wrote it.
    """
    if not file.is_file():
        return None
    try:
        record = read_json(file)
    except ValueError as error:
        raise ValueError(f"{error} {_UNKNOWN}") from error
    if isinstance(record, dict) and record:
        check_format(file, record)
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise ValueError(f"{file} does not hold the settings of a training. {_UNKNOWN}")
    return record["settings"]


def find_resume(output_dir: str | Path, settings: dict[str, Any], asked: str | bool | None) -> str | None:
    """The checkpoint to continue from; None starts a new run. A checkpoint that is not whole is named and not taken.

    Args:
        asked: The key `resume_from_checkpoint`: a folder, or true for the last checkpoint. If it is not set, a run of the
            same settings continues from its last checkpoint, so that a killed command can be given again.

    Raises:
        FileNotFoundError: `resume_from_checkpoint` is not a checkpoint folder.
        ValueError: The folder holds a run of other settings, or another model, and no checkpoint was asked for; or it has no
            whole checkpoint although one was asked for.
    """
    folder = Path(output_dir)
    before = recorded_settings(folder / SETTINGS_FILE)
    changed = differences(before, settings) if before is not None else []
    if asked and changed:
        logger.warning("Going on with other settings than before: %s.", "; ".join(changed))
    if (checkpoint := named_checkpoint(asked)) is not None:
        if (wrong := wrong_checkpoint(checkpoint)) is not None:
            raise ValueError(
                f"`resume_from_checkpoint` is {checkpoint}, which is not whole: {wrong}. Name another one."
            )
        return str(checkpoint)
    if str(asked).lower() == "true":
        last = _last(folder)
        if last is None:
            raise ValueError(f"`resume_from_checkpoint` is true, but {folder} has no whole checkpoint. Leave it out.")
        return last
    if before is not None:
        if changed:
            raise ValueError(
                f"The folder {folder} holds a run of other settings ({'; '.join(changed)}). Choose another "
                "`output_dir`, delete that one, or go on from its last checkpoint with `resume_from_checkpoint: true`."
            )
        return _last(folder)
    if any(folder.glob("checkpoint-*")) or any(folder.glob("*.safetensors")) or (folder / RESULT_FILE).exists():
        raise ValueError(
            f"The folder {folder} holds a model or checkpoints that this command did not write. "
            "Choose another `output_dir`."
        )
    return None


def _last(folder: Path) -> str | None:
    last, wrong = last_whole_checkpoint(folder)
    if wrong:
        goes_on = "The run starts anew" if last is None else f"The run goes on from {last.name}"
        logger.warning("Checkpoints are not whole: %s. %s.", "; ".join(wrong), goes_on)
    return None if last is None else str(last)


def check_world_size(checkpoint: str | Path, world_size: int) -> None:
    """Checks that a DeepSpeed checkpoint was written by as many processes as this launch has.

    Raises:
        ValueError: The number of processes differs.
    """
    latest = Path(checkpoint) / "latest"
    if not latest.is_file():
        return  # not a DeepSpeed checkpoint: the optimizer's state is whole
    shards = len(list((Path(checkpoint) / latest.read_text().strip()).glob("*_optim_states.pt")))
    if shards != world_size:
        raise ValueError(
            f"The checkpoint {checkpoint} holds the optimizer in {shards} shards, one a process, and this launch has "
            f"{world_size} processes: DeepSpeed can only resume with as many. Launch with "
            f"`--num_processes {shards}`, or start a new run from the weights with `--model_name_or_path {checkpoint}` "
            "and another `output_dir`."
        )
