"""What every backend is asked for, and what it must give."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from transformers import AutoConfig, GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

from circuitseer_trl.answers import FinishReason, Sample
from circuitseer_trl.evaluation.answering.backends.noise import sample_key
from circuitseer_trl.modeling.encoding import decode_tokens
from circuitseer_trl.modeling.loading import model_path

logger = logging.getLogger(__name__)

# Servers of other make than vLLM take seeds of 31 bits, and count up from a request's seed for its further answers.
_MAX_SEED, _MAX_DRAWS = 2**31, 2**16


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn.

    Args:
        repetition_penalty (`float`): Divides positive and multiplies negative logits of tokens that occurred in the
            prompt or the answer (Keskar et al. 2019); 1 leaves them.
    """

    max_new_tokens: int
    temperature: float = 0.6
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    seed: int = 42


@dataclass(frozen=True)
class Request:
    """One answer to generate; its number counts among the draws of its problem, and is 0 for the greedy one."""

    id: str
    prompt_ids: tuple[int, ...]
    prompt: str
    greedy: bool
    sample: int


class Backend(Protocol):
    """Something that answers."""

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        """Yields answers in groups as they finish, in any order.

        Args:
            on_tokens: Is told how many tokens were generated since the last call, for progress.
        """
        ...


def context_length(config: PretrainedConfig) -> int | None:
    """Most tokens that prompt and answer may have together; None where the model sets no limit."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def cut_to_context(
    requests: Sequence[Request], settings: SamplingSettings, context: int | None
) -> tuple[list[tuple[Request, int]], list[Sample]]:
    """Requests with the most tokens that each answer may have, and empty samples for prompts that fill the context."""
    limited, too_long = [], []
    for request in requests:
        limit = settings.max_new_tokens
        if context is not None:
            limit = min(limit, context - len(request.prompt_ids))
        if limit >= 1:
            limited.append((request, limit))
        else:
            key = (request.id, request.greedy, request.sample)
            too_long.append(Sample(*key, "", 0, "prompt_too_long", settings.seed, request.prompt))
    if too_long or any(limit < settings.max_new_tokens for _, limit in limited):
        logger.warning(
            "The model's context of %d tokens leaves fewer than %d for some answers; they are cut there and "
            "counted as truncated. Lower `max_new_tokens`, or extend the model's context.",
            context,
            settings.max_new_tokens,
        )
    return limited, too_long


def sample_of_ids(
    request: Request, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], reason: FinishReason, seed: int
) -> Sample:
    """The sample of an answer's token ids; where it stopped, the last of them ended it and is not text."""
    text = decode_tokens(tokenizer, ids[:-1] if reason == "stop" else ids, skip_special_tokens=True)
    return Sample(request.id, request.greedy, request.sample, text, len(ids), reason, seed, request.prompt)


@dataclass(frozen=True)
class Draws:
    """Answers to one problem whose numbers follow each other, so that they make one request with n answers."""

    requests: tuple[Request, ...]
    max_tokens: int


def draws_of_problems(limited: Sequence[tuple[Request, int]]) -> list[Draws]:
    """Puts the sampled answers of a problem together, each greedy one alone; longest prompts first."""
    queue = sorted(limited, key=lambda pair: (-len(pair[0].prompt_ids), pair[0].id, pair[0].greedy, pair[0].sample))
    # Within a run of numbers that follow each other, number minus position is the same.
    runs = groupby(enumerate(queue), key=lambda each: (each[1][0].id, each[1][0].greedy, each[1][0].sample - each[0]))
    groups = [[pair for _, pair in run] for _, run in runs]
    return [Draws(tuple(request for request, _ in group), group[0][1]) for group in groups]


def draw_seed(settings: SamplingSettings, request: Request) -> int:
    """Seed of one draw for an engine with a generator of its own: that of its problem's first draw plus its number."""
    first = sample_key(settings.seed, request.id, 0) % (_MAX_SEED - _MAX_DRAWS)
    return first + request.sample


def configured_end_ids(config: GenerationConfig) -> set[int]:
    """Tokens that end an answer by a model's generation settings."""
    configured = config.eos_token_id
    return set() if configured is None else {configured} if isinstance(configured, int) else set(configured)


def load_generation_config(name: str, revision: str | None) -> GenerationConfig:
    """A model's generation settings, without the model."""
    try:
        return GenerationConfig.from_pretrained(model_path(name), revision=revision or "main")
    except OSError:  # it has none of its own
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(model_path(name), revision=revision))
