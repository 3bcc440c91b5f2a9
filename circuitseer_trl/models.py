"""Loads models and tokenizers, and puts text into the form in which a model reads it."""

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations import deepspeed as transformers_deepspeed

from circuitseer_trl.sharding import process_state


@dataclass(frozen=True)
class EncodedExample:
    """A problem with its solution, as token ids.

    Attributes:
        uid: Name of the pool's row.
        input_ids: Prompt and completion, one after the other.
        num_prompt_tokens: How many of them are the prompt's; the others are the completion's.
        truncated: Whether the completion was cut to the maximum length.
    """

    uid: str
    input_ids: tuple[int, ...]
    num_prompt_tokens: int
    truncated: bool

    @property
    def num_completion_tokens(self) -> int:
        return len(self.input_ids) - self.num_prompt_tokens


def local_device() -> torch.device:
    """The CUDA device of this process (by LOCAL_RANK, as launchers set it), or the CPU."""
    return process_state().device


@contextmanager
def zero3_init_disabled() -> Iterator[None]:
    """Loads models whole while ZeRO-3 is configured.

    transformers keeps the DeepSpeed configuration of an `SFTConfig` in a module-level weak reference, and `from_pretrained`
    builds empty, sharded parameters while it is set. accelerate's `zero3_init_context_manager` does not reach it.
    """
    reference = transformers_deepspeed._hf_deepspeed_config_weak_ref
    config = reference() if reference is not None else None
    transformers_deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            transformers_deepspeed.set_hf_deepspeed_config(config)


def check_model_folder(name: str) -> None:
    """Raises, before anything is loaded, where `name` looks like a folder but holds no model."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"The folder {name} holds no model: it has no config.json.")
        if not any(folder.glob("*.safetensors")):
            raise FileNotFoundError(
                f"The folder {name} holds no weights: it has a config.json but no *.safetensors file. "
                "If the weights are in another format, save them with `save_pretrained` first."
            )
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no model folder {name}.")


def model_path(name: str) -> str:
    """Absolute path of a local model folder, or the Hub id: libraries take a relative path for a Hub id."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(model_path(name), revision=revision)
    if not tokenizer("1 + 1 = 2", add_special_tokens=False)["input_ids"]:
        # A Qwen2 config beside a tokenizer.json of another kind loads without a word and maps every text to nothing.
        raise ValueError(f"The tokenizer of {name} turns text into no tokens. Save the tokenizer again in that folder.")
    return tokenizer


def resolve_dtype(dtype: str, *, for_scores: bool = False) -> torch.dtype:
    """`auto` is float32 on CPU, and on CUDA bfloat16 for losses and heads and float32 for scores."""
    if dtype != "auto":
        return getattr(torch, dtype)
    return torch.bfloat16 if torch.cuda.is_available() and not for_scores else torch.float32


def load_model(
    name: str,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """Loads a causal language model whole, in evaluation mode and without gradients, onto this process's device."""
    check_model_folder(name)
    if isinstance(dtype, str):
        dtype = resolve_dtype(dtype)
    with zero3_init_disabled():
        model = AutoModelForCausalLM.from_pretrained(
            model_path(name), revision=revision, dtype=dtype, attn_implementation=attn_implementation
        )
    return model.to(local_device()).eval().requires_grad_(False)


@lru_cache(maxsize=8)
def model_fingerprint(name: str, revision: str | None = None) -> str:
    """Names a model's exact weights: the commit of a Hub model, or a hash of a folder's files."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return f"{name}@{AutoConfig.from_pretrained(name, revision=revision)._commit_hash}"
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted([folder / "config.json", *folder.glob("*.safetensors"), *folder.glob("tokenizer*")]):
        if file.is_file():
            digest.update(file.name.encode())
            with open(file, "rb") as content:
                while chunk := content.read(1 << 24):
                    digest.update(chunk)
    return digest.hexdigest()


@dataclass
class Reference:
    """The model that is looked into: loaded when it is first asked for, and gone after `free`.

    Attributes:
        name: Hub id or folder.
        revision: Commit, branch or tag on the Hub.
        dtype: As in `resolve_dtype`.
        max_length: Longer sequences are cut to this many tokens.
    """

    name: str
    revision: str | None = None
    dtype: str = "auto"
    max_length: int = 4096

    def __post_init__(self) -> None:
        check_model_folder(self.name)
        self._loaded: PreTrainedModel | None = None

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.name, self.revision)

    def model(self, *, for_scores: bool = False) -> PreTrainedModel:
        dtype = resolve_dtype(self.dtype, for_scores=for_scores)
        if self._loaded is None or self._loaded.dtype != dtype:
            self.free()
            self._loaded = load_model(self.name, self.revision, dtype)
        return self._loaded

    def free(self) -> None:
        """Forgets the model, so that the memory is there for the one to train."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def describe(self, *, for_scores: bool = False) -> dict[str, Any]:
        """What a card says of the model; enough to tell another model from it."""
        return {
            "name": self.name,
            "revision": self.revision,
            "fingerprint": model_fingerprint(self.name, self.revision),
            "dtype": str(resolve_dtype(self.dtype, for_scores=for_scores)).removeprefix("torch."),
            "max_length": self.max_length,
        }


def chat_messages(problem: str, system_prompt: str) -> list[dict[str, str]]:
    """The turns before the answer; an empty system prompt leaves the system turn out."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": problem}]


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.chat_template is not None


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str, form: str, system_prompt: str) -> list[int]:
    """Token ids of a text to be read by a model.

    Args:
        form: `chat` puts the text into the chat template, as the user's turn and up to the assistant's header. `plain` is
            the text alone, with the special tokens that the tokenizer adds by itself.
    """
    if form == "plain":
        return tokenizer(text)["input_ids"]
    if not has_chat_template(tokenizer):
        raise ValueError(
            f"The tokenizer {tokenizer.name_or_path} has no chat template, but the chat format was asked for. "
            "Use the plain format, or a tokenizer with a template."
        )
    encoded = tokenizer.apply_chat_template(
        chat_messages(text, system_prompt), add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return encoded["input_ids"]


def encode_example(
    tokenizer: PreTrainedTokenizerBase,
    uid: str,
    problem: str,
    completion: str,
    *,
    form: str,
    system_prompt: str,
    max_length: int,
) -> EncodedExample:
    """Encodes prompt and completion apart and joins them, so that no token crosses the boundary.

    In the plain form a newline ends the problem. The end-of-turn token is not part of the completion.
    """
    prompt = encode_prompt(tokenizer, problem + "\n" if form == "plain" else problem, form, system_prompt)
    answer = tokenizer(completion, add_special_tokens=False)["input_ids"]
    ids = (*prompt, *answer)
    return EncodedExample(uid, ids[:max_length], min(len(prompt), max_length), len(ids) > max_length)
