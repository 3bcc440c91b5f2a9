"""Loads models and tokenizers, and identifies their exact weights."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations import deepspeed as transformers_deepspeed
from transformers.utils import logging

from circuitseer_trl.chat_settings import CHAT_DATE
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.modeling.chat_templates import set_chat_date
from circuitseer_trl.modeling.model_checks import check_causal, check_finite, check_tensors
from circuitseer_trl.modeling.model_folders import check_model_folder, model_files, model_path


def local_device() -> torch.device:
    """The CUDA device of this process (by LOCAL_RANK, as launchers set it), or the CPU."""
    return process_state().device


@contextmanager
def zero3_init_disabled() -> Iterator[None]:
    """Loads models whole although ZeRO-3 is configured.

    transformers keeps the DeepSpeed configuration of an `SFTConfig` in a weak reference of the module. While it is set,
    `from_pretrained` builds empty, sharded parameters. accelerate's `zero3_init_context_manager` does not change it.
    """
    reference = transformers_deepspeed._hf_deepspeed_config_weak_ref
    config = reference() if reference is not None else None
    transformers_deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            transformers_deepspeed.set_hf_deepspeed_config(config)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the progress bar and the report of a load that reads no weights."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(
    name: str, revision: str | None = None, chat_date: str | None = CHAT_DATE
) -> PreTrainedTokenizerBase:
    """Loads a tokenizer.

    Args:
        chat_date: The date that its chat template writes. None leaves the template as it is, for a tokenizer that is saved.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path(name), revision=revision)
    except (OSError, ImportError):
        raise
    except Exception as error:  # of a broken file; tokenizers raises Exception itself
        raise ValueError(
            f"The tokenizer of {name} cannot be loaded ({type(error).__name__}: {error}). Save or download it again."
        ) from error
    if not tokenizer("1 + 1 = 2", add_special_tokens=False)["input_ids"]:
        # A Qwen2 config beside a tokenizer.json of another kind loads without a warning and maps every text to no tokens.
        raise ValueError(f"The tokenizer of {name} turns text into no tokens. Save the tokenizer again in that folder.")
    if chat_date is not None:
        set_chat_date(tokenizer, chat_date)
    return tokenizer


def resolve_dtype(dtype: str, *, for_scores: bool = False) -> torch.dtype:
    """The dtype of a name. `auto` is float32 on CPU; on CUDA it is bfloat16 for losses and heads, float32 for scores."""
    if dtype != "auto":
        return getattr(torch, dtype)
    return torch.bfloat16 if torch.cuda.is_available() and not for_scores else torch.float32


def load_model(
    name: str,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """Loads a causal language model whole, in evaluation mode and without gradients, onto this process's device.

    Raises:
        FileNotFoundError: There is no such folder, or a file of it is missing.
        ValueError: The model is no causal language model, its weights are not complete, or they are not finite.
    """
    check_weights(name, revision)
    if isinstance(dtype, str):
        dtype = resolve_dtype(dtype)
    with zero3_init_disabled():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_path(name),
            revision=revision,
            dtype=dtype,
            attn_implementation=attn_implementation,
            output_loading_info=True,
        )
    model, found = loaded
    check_tensors(name, found)
    model.to(local_device())
    check_finite(name, model)
    return model.eval().requires_grad_(False)


def check_weights(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> None:
    """Checks, without reading weights, that a model is a causal language model and its files have all of its tensors."""
    check_model_folder(name)
    remote: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(model_path(name), **remote)
    check_causal(name, config)
    if getattr(config, "quantization_config", None):
        return  # quantizers want the device that they compute on
    # On the device `meta` tensors have shapes but no values, so that transformers compares names and shapes alone.
    try:
        with zero3_init_disabled(), quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                model_path(name), device_map="meta", ignore_mismatched_sizes=True, output_loading_info=True, **remote
            )
    except (ArithmeticError, LookupError, RuntimeError, TypeError) as error:  # such as for 0 heads
        raise ValueError(
            f"The config.json of {name} describes no model that can be made ({type(error).__name__}: {error})."
        ) from error
    check_tensors(name, loaded[1])


@lru_cache(maxsize=8)
def model_fingerprint(name: str, revision: str | None = None) -> str:
    """Identifies a model with its tokenizer, templates and generation settings: a Hub model's commit, or a hash of files.

    A process reads the files of a folder once.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        commit = AutoConfig.from_pretrained(name, revision=revision)._commit_hash
        if commit is None:
            raise ValueError(f"The commit of {name} cannot be read. Download the model, and give its folder.")
        return f"{name}@{commit}"
    digest = hashlib.blake2b(digest_size=8)
    for file in model_files(folder):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as content:
            while chunk := content.read(1 << 24):
                digest.update(chunk)
    return digest.hexdigest()
