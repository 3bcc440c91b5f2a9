"""Is this a causal language model, with all of its weights, and does it fit its tokenizer? Each check names what is wrong."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from circuitseer_trl.modeling.model_folders import weight_files

_SHOWN = 3


def check_causal(name: str, config: PretrainedConfig) -> None:
    """Raises if the configuration is not that of a causal language model."""
    if config.is_encoder_decoder:
        kind = "an encoder-decoder"
    elif type(config) in MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", None) is False:
        kind = "an encoder, in which tokens see what follows them"
    elif type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "auto_map", None):
        kind = "none that transformers knows as one"
    else:
        return
    raise ValueError(
        f"{name} is a model of type {config.model_type}, which is {kind}. Use a causal language model, such as a Qwen2.5 or "
        "a Llama."
    )


def check_tensors(name: str, found: Mapping[str, Any]) -> None:
    """Raises if a model's files lack tensors, have others than the model, or have other shapes; transformers only warns.

    Args:
        found: What `from_pretrained(..., output_loading_info=True)` returns beside the model. Tied weights, and tensors that
            the model's class can do without, are not in it.
    """
    for kind, keys in (("lack", found["missing_keys"]), ("have unknown", found["unexpected_keys"])):
        if keys:
            raise ValueError(
                f"The files of weights of {name} {kind} tensors of the model in config.json: {_some(keys)}. "
                f"{'Missing weights would be random' if kind == 'lack' else 'They would not be used'}. Is the configuration "
                "that of these weights, and were all files copied?"
            )
    if found["mismatched_keys"]:
        key, stored, wanted = sorted(found["mismatched_keys"])[0]
        raise ValueError(
            f"The weights of {name} have other shapes than config.json says: {len(found['mismatched_keys'])} tensors, such "
            f"as {key} with {tuple(stored)} in the file and {tuple(wanted)} in the model. Is it the configuration of these "
            "weights?"
        )


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{len(names)}, such as {shown}" if len(names) > _SHOWN else shown


def not_finite(model: torch.nn.Module) -> list[str]:
    """The names of parameters with a value that is not finite; of a parameter that is sharded, in this process's part."""
    broken = []
    for name, parameter in model.named_parameters():
        values = getattr(parameter, "ds_tensor", parameter).detach()  # DeepSpeed keeps its share there
        if not _all_finite(values):
            broken.append(name)
    return broken


def _all_finite(values: torch.Tensor) -> bool:
    if not values.is_floating_point() or values.dtype.itemsize < 2 or values.is_meta:
        return True  # quantized, or not loaded
    # A sum needs no memory, and is not finite if a value is not. Finite values may also have such a sum.
    total = values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
    return bool(total.isfinite()) or bool(values.isfinite().all())


def check_finite(name: str, model: torch.nn.Module) -> None:
    """Raises if a weight is NaN or infinite."""
    _refuse(name, not_finite(model))


def check_finite_files(name: str) -> None:
    """Raises if a weight in the files of a model's folder is NaN or infinite. Nothing is known of a model on the Hub."""
    folder = Path(name).expanduser()
    broken: list[str] = []
    for file in weight_files(name, folder) if folder.is_dir() else []:
        with safe_open(file, "pt") as tensors:
            broken += [key for key in tensors.keys() if not _all_finite(tensors.get_tensor(key))]  # noqa: SIM118
    _refuse(name, broken)


def _refuse(name: str, broken: list[str]) -> None:
    if broken:
        raise ValueError(
            f"The weights of {name} are not finite (NaN or infinite) in {_some(broken)}. Use another checkpoint, or save the "
            "model again. If its dtype is float16, use float32."
        )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str, rows: int, used: Iterable[int] = ()) -> None:
    """Raises if texts can have tokens that the model has no embedding for.

    Args:
        rows: Of the embedding.
        used: Ids of added tokens that are used, such as those of the template. Others may be beyond the embedding, because
            no text has them (Gemma 3's token of an image, for instance).
    """
    largest = max([tokenizer.vocab_size - 1, *used])
    if largest >= rows:
        raise ValueError(
            f"The tokenizer of {name} has the token {tokenizer.convert_ids_to_tokens(largest)!r} with the id {largest}, but "
            f"the model has only {rows} embeddings. Is it the model's tokenizer? If tokens were added to it, call "
            "`model.resize_token_embeddings`, and save both."
        )


def num_positions(config: PretrainedConfig) -> int | None:
    """Most tokens of a sequence by the model's configuration; None where it sets no limit."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def num_embeddings(config: PretrainedConfig) -> int:
    """Rows of the model's embedding, by its configuration."""
    return int(config.get_text_config().vocab_size)
