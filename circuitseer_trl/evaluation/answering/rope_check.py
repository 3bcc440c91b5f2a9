"""Does the model run at the RoPE base that it was trained with?"""

import json
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel

from circuitseer_trl.artifacts import read_json

# For these types the ratio of the two highest frequencies depends on the base alone: both are kept, or both are divided by one
# factor.
FORMS = ("default", "linear", "llama3")


def recorded_base(folder: str | Path) -> float | None:
    """Reads the RoPE base that a model was trained with from its folder; None if the folder does not have it.

    The record of the training comes first, then the key of older transformers, which `train_sft` also writes.
    """
    folder = Path(folder).expanduser()
    training, config = folder / "training.json", folder / "config.json"
    if training.is_file():
        rope = read_json(training).get("settings", {}).get("rope", {})
        if "rope_parameters" in rope:
            return float(rope["rope_parameters"]["rope_theta"])
    if config.is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        if values.get("rope_theta") is not None:
            return float(values["rope_theta"])
    return None


def effective_base(model: PreTrainedModel) -> float | None:
    """Computes the RoPE base from a loaded model's frequencies; None if the model has no or several sets of plain frequencies."""
    parameters = model.config.get_text_config().to_dict().get("rope_parameters") or {}
    found = [buffer for name, buffer in model.named_buffers() if name.endswith("rotary_emb.inv_freq")]
    if parameters.get("rope_type") not in FORMS or len(found) != 1 or len(found[0]) < 2:
        return None
    frequencies = found[0].to(torch.float64)
    # Frequency i is base^(-i / n) for n of them.
    return float((frequencies[0] / frequencies[1]) ** len(frequencies))


def check_rope(name: str, model: PreTrainedModel) -> None:
    """Raises if a loaded model does not run at the base that its folder records.

    transformers 4 does not read the key that transformers 5 writes, and runs such a model at 10000 without a warning. A
    model folder that was saved again or edited by hand can lose its base in the same way.
    """
    _compare(name, effective_base(model))


def check_rope_config(name: str, config: PretrainedConfig) -> None:
    """The same check if another engine loads the model, whose base is then that of the config."""
    parameters = config.get_text_config().to_dict().get("rope_parameters") or {}
    _compare(name, parameters.get("rope_theta") if parameters.get("rope_type") in FORMS else None)


def _compare(name: str, effective: float | None) -> None:
    recorded = recorded_base(name)
    if recorded is None or effective is None or abs(effective / recorded - 1) < 1e-3:
        return
    raise ValueError(
        f"{name} was trained with a RoPE base of {recorded:g} (its training.json or config.json), but loads with "
        f"{effective:g}: its answers would be worthless. Set `rope_theta` in the `rope_parameters` of its config.json "
        f"to {recorded:g}, or use a version of transformers that reads them."
    )
