"""Which model scores and finds heads? The reference model, and the settings that it reads examples with."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.chat_settings import CHAT_DATE, SYSTEM_PROMPT
from circuitseer_trl.configs import TextFormat
from circuitseer_trl.modeling.chat_templates import check_template, prompt_ids
from circuitseer_trl.modeling.encoding import EncodedExample, encode_prompt, has_chat_template
from circuitseer_trl.modeling.loading import (
    load_model,
    load_tokenizer,
    model_fingerprint,
    resolve_dtype,
)
from circuitseer_trl.modeling.losses import check_head
from circuitseer_trl.modeling.memory import default_batch_tokens
from circuitseer_trl.modeling.model_checks import check_causal, check_vocabulary, num_embeddings, num_positions
from circuitseer_trl.modeling.model_folders import check_model_folder, model_path
from circuitseer_trl.pool.chat import PLAIN_FORM, plain_prompt
from circuitseer_trl.pool.rows import Example

# If the logits are not finite on this number of examples, the model counts as broken.
NUM_CHECKED = 8


@dataclass
class Reference:
    """The reference model. It is loaded at its first use, and `free` removes it from memory.

    A pickled reference has no model and no tokenizer. The process that unpickles it loads its own, once for all references with
    the same settings that arrive there while one of them is in use.

    Attributes:
        name: Hub id or folder.
        revision: Commit, branch or tag on the Hub.
        dtype: As in `resolve_dtype`.
        max_length: Largest number of tokens of a sequence; longer ones are truncated, as they are at the model's positions.
        prompt_format: Format of examples; None is chat if the tokenizer has a template, else plain.
        system_prompt: System message; an empty text leaves the message out.
        chat_date: Today's date in chat templates that write it.
        max_batch_tokens: Tokens of one forward pass; None takes the default of the device.
    """

    name: str
    revision: str | None = None
    dtype: str = "auto"
    max_length: int = 4096
    prompt_format: TextFormat | None = None
    system_prompt: str = SYSTEM_PROMPT
    max_batch_tokens: int | None = None
    chat_date: str = CHAT_DATE

    def __post_init__(self) -> None:
        check_model_folder(self.name)
        self._loaded: PreTrainedModel | None = None
        self._checked = False
        self._required: list[Callable[[PreTrainedModel], None]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived_reference, (type(self), astuple(self), self._required)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer = load_tokenizer(self.name, self.revision, self.chat_date)
        check_vocabulary(tokenizer, self.name, num_embeddings(self.config))
        return tokenizer

    @cached_property
    def config(self) -> PretrainedConfig:
        config = AutoConfig.from_pretrained(model_path(self.name), revision=self.revision)
        check_causal(self.name, config)
        return config

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens of a sequence: `max_length`, or the model's positions where they are fewer."""
        positions = num_positions(self.config)
        return self.max_length if positions is None else min(self.max_length, positions)

    @cached_property
    def text_format(self) -> TextFormat:
        """The format of examples: `prompt_format`, or chat if that is None and the tokenizer has a template."""
        chosen = self.prompt_format or ("chat" if has_chat_template(self.tokenizer) else "plain")
        if chosen == "chat":
            self.check_template(self.system_prompt)
        return chosen

    def check_template(self, system_prompt: str) -> None:
        """Raises if the chat template drops a part of a prompt with this system message."""
        if has_chat_template(self.tokenizer):
            check_template(self.tokenizer, system_prompt, "set `probe_format: plain` and `score_format: plain`")
            used = prompt_ids(self.tokenizer, system_prompt)
            check_vocabulary(self.tokenizer, self.name, num_embeddings(self.config), used)

    @property
    def batch_tokens(self) -> int:
        return self.max_batch_tokens or default_batch_tokens()

    def model(self, *, for_scores: bool = False) -> PreTrainedModel:
        dtype = resolve_dtype(self.dtype, for_scores=for_scores)
        if self._loaded is None or self._loaded.dtype != dtype:
            self.free()
            self._loaded = load_model(self.name, self.revision, dtype)
            for check in self._required:
                check(self._loaded)
        return self._loaded

    def require(self, check: Callable[[PreTrainedModel], None]) -> None:
        """Has a check run whenever the model is loaded, before it is used; at once if it is loaded already."""
        if check not in self._required:
            self._required.append(check)
            if self._loaded is not None:
                check(self._loaded)

    def checked_model(self, examples: Sequence[EncodedExample], *, for_scores: bool = False) -> PreTrainedModel:
        """Returns the model. The first call compares our losses with the model's own logits.

        Args:
            examples: The comparison uses the first example on which the model's logits are finite.
        """
        model = self.model(for_scores=for_scores)
        if not self._checked:
            tried = examples[:NUM_CHECKED]
            if not any(check_head(model, example) for example in tried):
                raise ValueError(
                    f"The logits of {self.name} are not finite on example {tried[0].uid}"
                    + (f", nor on the {len(tried) - 1} after it" if len(tried) > 1 else "")
                    + ". Are its weights complete? If its dtype is float16, use float32."
                )
            self._checked = True
        return model

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encodes problem and completion of each example separately and joins them, so that no token crosses the boundary.

        The end-of-turn token is not part of the completion.
        """
        return [self._encode(example) for example in examples]

    def _encode(self, example: Example) -> EncodedExample:
        plain = self.text_format == "plain"
        text = plain_prompt(example.problem, self.system_prompt) if plain else example.problem
        prompt = encode_prompt(self.tokenizer, text, self.text_format, self.system_prompt)
        answer = self.tokenizer(example.completion, add_special_tokens=False)["input_ids"]
        ids, most = (*prompt, *answer), self.max_tokens
        return EncodedExample(example.uid, ids[:most], min(len(prompt), most), len(ids) > most)

    def free(self) -> None:
        """Removes the model from memory, for example before the target model is loaded."""
        if self._loaded is None:
            return
        self._loaded, self._checked = None, False
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def describe(self, *, for_scores: bool = False) -> dict[str, Any]:
        """Describes the model for a card. Another model has another description."""
        return {
            "name": self.name,
            "revision": self.revision,
            "fingerprint": model_fingerprint(self.name, self.revision),
            "dtype": str(resolve_dtype(self.dtype, for_scores=for_scores)).removeprefix("torch."),
            "max_length": self.max_tokens,
        }

    def reading(self) -> dict[str, Any]:
        """The settings that the model reads examples with, under the names that cards have for them."""
        return {
            "probe_format": self.prompt_format,
            "system_prompt": self.system_prompt,
            "chat_date": self.chat_date,
            "max_batch_tokens": self.batch_tokens,
        }

    def form(self) -> dict[str, Any]:
        """What decides the text of an example, beside the example and the tokenizer."""
        plain = {"plain_form": PLAIN_FORM} if self.text_format == "plain" else {}
        settings = {"system_prompt": self.system_prompt, "chat_date": self.chat_date}
        return {"form": self.text_format, **settings, **plain}


_arrived: WeakValueDictionary[tuple[Any, ...], Reference] = WeakValueDictionary()


def _arrived_reference(
    kind: type[Reference], settings: tuple[Any, ...], required: Sequence[Callable[[PreTrainedModel], None]]
) -> Reference:
    """The reference of this process for pickles with these settings."""
    reference = _arrived.setdefault((kind, *settings), kind(*settings))
    for check in required:
        reference.require(check)
    return reference
