"""Was a model trained on this selection? Then it is not overwritten by another one.

A training leaves a mark beside the selection. The mark names the model's folder both as an absolute path and relative to the
selection, so it holds where the two were moved together. It counts as long as that folder has a record of a training.
"""

import os
from pathlib import Path

from circuitseer_trl.artifacts import read_json, write_json

MARK = "trained_on.json"
RECORDS = ("training_settings.json", "trainer_state.json", "training.json")


def _marks(folder: Path) -> dict[str, dict[str, str]]:
    """The marked trainings, by absolute path of the model's folder; none if the file is missing or broken."""
    try:
        found = read_json(folder / MARK)
    except (FileNotFoundError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def _is_trained(folder: Path) -> bool:
    return any((folder / name).is_file() for name in RECORDS) or any(folder.glob("checkpoint-*"))


def mark_trained(selection_dir: str | Path, model_dir: str | Path, rows: str | None) -> None:
    """Marks a selection, before a model is trained on it.

    Args:
        rows: The entry `rows` of the selection's card; None in version 0.1.0.
    """
    folder, model = Path(selection_dir).resolve(), Path(model_dir).resolve()
    mark = {"relative": os.path.relpath(model, folder), "rows": rows or ""}
    if _marks(folder).get(str(model)) != mark and os.access(folder, os.W_OK):  # a folder that cannot be written is safe
        write_json(folder / MARK, _marks(folder) | {str(model): mark})


def check_not_trained_on(selection_dir: str | Path, rows: str) -> None:
    """Raises if a model was trained on the selection of a folder, and other rows would replace it.

    Args:
        rows: The entry `rows` of the card that would be written.
    """
    folder = Path(selection_dir).resolve()
    for path, mark in _marks(folder).items():
        model = next((each for each in (folder / mark.get("relative", ""), Path(path)) if _is_trained(each)), None)
        if model is not None and mark.get("rows") != rows:
            raise ValueError(
                f"The model in {os.path.normpath(model)} was trained on the selection in {selection_dir}, and this one has other "
                "rows, so it does not overwrite it. Choose another `output_dir`, or delete that model."
            )
