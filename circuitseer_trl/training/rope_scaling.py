"""How many positions does the model have? Changes RoPE at load, and writes it so that every reader finds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.modeling.model_checks import num_positions


@dataclass(frozen=True)
class RopeChange:
    """A change of RoPE.

    Attributes:
        init_kwargs: Arguments of `from_pretrained` that make the change.
        num_positions: Number of positions after the change; None without a limit.
    """

    init_kwargs: dict[str, Any]
    num_positions: int | None


def change_rope(
    config: PreTrainedConfig, rope_theta: float | None = None, max_position_embeddings: int | None = None
) -> RopeChange:
    """Makes the arguments with which `from_pretrained` loads a model with another RoPE base or more positions.

    The change must happen at load. Setting `model.config.rope_parameters` later changes the saved config but not the
    frequencies of the training, and `from_pretrained(rope_theta=...)` is an error (transformers 5.23).

    Raises:
        ValueError: The model has no single RoPE base, or no number of positions.
    """
    kwargs: dict[str, Any] = {}
    values = config.to_dict()
    if rope_theta is not None:
        parameters = values.get("rope_parameters")
        if not parameters or "rope_type" not in parameters:
            # Without parameters the model has no RoPE. With one set for each type of layer, one base is not enough.
            raise ValueError(
                f"`rope_theta` is {rope_theta}, but models of type {config.model_type} have no single RoPE base: "
                f"`rope_parameters` is {parameters}. Leave it out, or set `rope_parameters` in `model_init_kwargs`."
            )
        kwargs["rope_parameters"] = {**parameters, "rope_theta": float(rope_theta)}
    if max_position_embeddings is not None:
        if "max_position_embeddings" not in values:
            raise ValueError(f"Models of type {config.model_type} have no `max_position_embeddings`. Leave it out.")
        kwargs["max_position_embeddings"] = int(max_position_embeddings)
    return RopeChange(kwargs, kwargs.get("max_position_embeddings", num_positions(config)))


def check_length(length: int | None, num_positions: int | None, what: str) -> None:
    """Checks that the model has enough positions for sequences of this length.

    Raises:
        ValueError: The sequences are longer.
    """
    if length is not None and num_positions is not None and length > num_positions:
        raise ValueError(
            f"{what} is {length} tokens, but the model has {num_positions} positions. Lower `max_length`, or extend "
            f"the model: `max_position_embeddings: {length}` with a larger `rope_theta` (the paper takes Qwen2.5-Math "
            "from 10000 to 300000 for 16384 tokens)."
        )


def write_legacy_rope(folder: str | Path) -> None:
    """Adds to a saved config.json the RoPE keys that transformers 4, and vLLM on it, read.

    transformers 5 saves `rope_parameters` alone. transformers 4.57 ignores that key and silently runs the model at a base
    of 10000. transformers 5 reads both and prefers its own.
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
