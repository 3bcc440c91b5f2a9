"""The model that is looked into."""

import gc
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.modeling.loading import (
    check_model_folder,
    load_model,
    load_tokenizer,
    model_fingerprint,
    resolve_dtype,
)


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
