"""How far does the model see? Changes RoPE at load, and writes it so that every reader finds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from circuitseer_trl.artifacts import read_json, write_json


@dataclass(frozen=True)
class RopeChange:
    """Arguments of `from_pretrained`, and the number of positions that the model has with them (None: no limit)."""

    init_kwargs: dict[str, Any]
    num_positions: int | None


def change_rope(
    config: PreTrainedConfig, rope_theta: float | None = None, max_position_embeddings: int | None = None
) -> RopeChange:
    """Makes the arguments with which `from_pretrained` loads a model with another RoPE base or more positions.

    They must be given at load: setting `model.config.rope_parameters` afterwards changes what is saved but not the
    frequencies that are trained with, and `from_pretrained(rope_theta=...)` is an error (transformers 5.23).
    """
    kwargs: dict[str, Any] = {}
    values = config.to_dict()
    if rope_theta is not None:
        parameters = values.get("rope_parameters")
        if not parameters or "rope_type" not in parameters:
            # No parameters: the model has no RoPE. One set of them a layer type: one base says too little.
            raise ValueError(
                f"`rope_theta` is {rope_theta}, but models of type {config.model_type} have no single RoPE base: "
                f"`rope_parameters` is {parameters}. Leave it out, or set `rope_parameters` in `model_init_kwargs`."
            )
        kwargs["rope_parameters"] = {**parameters, "rope_theta": float(rope_theta)}
    if max_position_embeddings is not None:
        if "max_position_embeddings" not in values:
            raise ValueError(f"Models of type {config.model_type} have no `max_position_embeddings`. Leave it out.")
        kwargs["max_position_embeddings"] = int(max_position_embeddings)
    return RopeChange(kwargs, kwargs.get("max_position_embeddings", values.get("max_position_embeddings")))


def check_length(length: int | None, num_positions: int | None, what: str) -> None:
    """Raises where sequences would be longer than the model has positions for."""
    if length is not None and num_positions is not None and length > num_positions:
        raise ValueError(
            f"{what} is {length} tokens, but the model has {num_positions} positions. Lower `max_length`, or extend "
            f"the model: `max_position_embeddings: {length}` with a larger `rope_theta` (the paper takes Qwen2.5-Math "
            "from 10000 to 300000 for 16384 tokens)."
        )


def write_legacy_rope(folder: str | Path) -> None:
    """Adds to a saved config.json the keys in which transformers 4 and vLLM on it look for RoPE.

    transformers 5 saves `rope_parameters` alone. transformers 4.57 passes over that and runs the model at a base of
    10000, without a word; transformers 5 reads either and prefers its own.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        return  # an adapter's folder (`use_peft`) has no model config
    config = read_json(path)
    parameters = config.get("rope_parameters")
    if not parameters or "rope_theta" not in parameters:
        return
    legacy = {"rope_theta": parameters["rope_theta"]}
    if parameters.get("rope_type", "default") != "default":
        legacy["rope_scaling"] = {key: value for key, value in parameters.items() if key != "rope_theta"}
    write_json(path, config | legacy)
