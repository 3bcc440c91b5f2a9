"""What every backend is asked for, and what it must give."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from circuitseer_trl.answers import Sample

if TYPE_CHECKING:
    from circuitseer_trl.evaluation.answering.prompts import PromptFormat

logger = logging.getLogger(__name__)

# Servers of other make than vLLM take seeds of 31 bits, and count up from a request's seed for its further answers.
_MAX_SEED, _MAX_DRAWS = 2**31, 2**16


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn.

    Attributes:
        repetition_penalty: Divides positive and multiplies negative logits of tokens that are already in the prompt or the
            answer (Keskar et al. 2019); 1 changes nothing.
    """

    max_new_tokens: int
    temperature: float = 0.6
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    seed: int = 42


@dataclass(frozen=True)
class Request:
    """One answer to generate; its number counts among the draws of its problem, and is 0 for the greedy one.

    Attributes:
        max_new_tokens: Most tokens of this answer; None is those of the settings.
    """

    id: str
    prompt_ids: tuple[int, ...]
    prompt: str
    greedy: bool
    sample: int
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Job:
    """The model that a backend opens, and the settings of its answers.

    Attributes:
        prompts: Format of the prompts; None if answers are replayed.
        batch_size: Number of answers at a time, for a backend that makes batches itself.
        longest_prompt: Number of tokens of the longest prompt.
        local_rank: Number of this process on its machine.
        made_with: Fingerprint of the settings that the answers depend on.
    """

    model_name: str
    revision: str | None
    prompts: "PromptFormat | None"
    settings: SamplingSettings
    batch_size: int = 32
    longest_prompt: int = 0
    local_rank: int = 0
    made_with: str = ""

    @property
    def prompt_format(self) -> "PromptFormat":
        assert self.prompts is not None
        return self.prompts


@dataclass
class Backend(ABC):
    """Something that answers. Each is a dataclass: its fields are its keys in a recipe, and its constructor checks them.

    Attributes:
        extra: The extra that installs what it needs, which is a package of the same name; None where nothing is needed.
        generates: Whether a model answers. Otherwise the answers are there, and `recorded` says how they were made.
        runs_in_launch: Whether the model is in the processes of a launch and on their GPUs.
    """

    extra: ClassVar[str | None] = None
    generates: ClassVar[bool] = True
    runs_in_launch: ClassVar[bool] = False

    @classmethod
    def one_process_a_gpu(cls, recipe: Mapping[str, Any]) -> bool:
        """Whether an evaluation by this recipe shares its work over one process a GPU."""
        return cls.runs_in_launch

    def versions(self) -> dict[str, str]:
        """What a result depends on beside the project's own libraries."""
        return {}

    def recorded(self) -> dict[str, Any]:
        """What is known of how answers were made that are read."""
        return {}

    @abstractmethod
    def open(self, job: Job) -> None:
        """Loads the model, or connects to what has it; called once, and only where an answer is missing."""

    @abstractmethod
    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        """Yields answers in groups as they finish, in any order.

        Args:
            on_tokens: Gets the number of tokens generated since its last call, for progress.
        """


def cut_to_context(
    requests: Sequence[Request], settings: SamplingSettings, context: int | None
) -> tuple[list[tuple[Request, int]], list[Sample]]:
    """Requests with the most tokens that each answer may have, and empty samples for prompts that fill the context."""
    limited, too_long, cut = [], [], False
    for request in requests:
        limit = wanted = request.max_new_tokens or settings.max_new_tokens
        if context is not None:
            limit = min(limit, context - len(request.prompt_ids))
        cut = cut or limit < wanted
        if limit >= 1:
            limited.append((request, limit))
        else:
            key = (request.id, request.greedy, request.sample)
            too_long.append(Sample(*key, "", 0, "prompt_too_long", settings.seed, request.prompt))
    if cut:
        logger.warning(
            "The model's context of %d tokens leaves fewer than %d for some answers; they are cut there and "
            "counted as truncated. Lower `max_new_tokens`, or extend the model's context.",
            context,
            settings.max_new_tokens,
        )
    return limited, too_long


@dataclass(frozen=True)
class Draws:
    """Answers to one problem whose numbers follow each other, so that they make one request with n answers."""

    requests: tuple[Request, ...]
    max_tokens: int

    def one_by_one(self) -> "list[Draws]":
        return [Draws((request,), self.max_tokens) for request in self.requests]


def draws_of_problems(limited: Sequence[tuple[Request, int]]) -> list[Draws]:
    """Puts the sampled answers of a problem together, each greedy one alone; longest prompts first."""
    queue = sorted(limited, key=lambda pair: (-len(pair[0].prompt_ids), pair[0].id, pair[0].greedy, pair[0].sample))
    # Within a run of numbers that follow each other, number minus position is the same.
    runs = groupby(enumerate(queue), key=lambda each: (each[1][0].id, each[1][0].greedy, each[1][0].sample - each[0]))
    groups = [[pair for _, pair in run] for _, run in runs]
    return [Draws(tuple(request for request, _ in group), group[0][1]) for group in groups]


def sample_key(seed: int, problem_id: str, sample: int) -> int:
    """A signed 64-bit number that names one sample."""
    digest = hashlib.blake2b(f"{seed}\n{sample}\n{problem_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def draw_seed(settings: SamplingSettings, request: Request) -> int:
    """Seed of one draw for an engine with a generator of its own: that of its problem's first draw plus its number."""
    first = sample_key(settings.seed, request.id, 0) % (_MAX_SEED - _MAX_DRAWS)
    return first + request.sample
