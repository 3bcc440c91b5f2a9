"""How does a server answer? Finds out which requests its completions endpoint accepts, and reads whole answers."""

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import openai
from transformers import AutoConfig, PreTrainedTokenizerBase

from circuitseer_trl.answers import FinishReason, Sample
from circuitseer_trl.evaluation.answering.backends.base import Draws, Job, draw_seed
from circuitseer_trl.evaluation.answering.backends.ends_and_context import (
    configured_end_ids,
    load_generation_config,
)
from circuitseer_trl.evaluation.answering.rope_check import check_rope_config
from circuitseer_trl.modeling.encoding import decode_tokens
from circuitseer_trl.modeling.loading import model_path
from circuitseer_trl.modeling.model_checks import num_positions
from circuitseer_trl.redaction import redact

logger = logging.getLogger(__name__)
for _name in ("httpx", "httpx2"):  # a line for every request otherwise; `openai` logs the tries that fail
    logging.getLogger(_name).setLevel(logging.WARNING)

# The client waits 0.5 s, 1 s, 2 s, ... 8 s between tries: about a minute, in which a server can start again.
MAX_RETRIES = 10
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class HalfAnswerError(Exception):
    """An answer arrived, but it is not whole."""


def prompt_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Returns a text that the server's tokenizer, which may add a token at the start, turns into exactly these ids."""
    for num_added in (0, 1):
        text = decode_tokens(tokenizer, ids[num_added:])
        if tokenizer(text)["input_ids"] == list(ids):
            return text
    raise ValueError(
        "The server refuses a prompt as token ids, and as text it would read another prompt than the other backends "
        f"(beginning {decode_tokens(tokenizer, ids[:20])!r}). Use a server that takes token ids, such as vLLM."
    )


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Divides `total` into whole numbers in proportion to the weights. The largest remainders are rounded up."""
    weights = weights if sum(weights) else [1] * len(weights)
    exact = [total * weight / sum(weights) for weight in weights]
    result = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda index: result[index] - exact[index])
    for index in order[: total - sum(result)]:
        result[index] += 1
    return result


def _told(error: Exception) -> str:
    """Formats an error with the server's own message, which may repeat the key."""
    said = redact(error.response.text)[:300] if isinstance(error, openai.APIStatusError) else str(error.__cause__ or "")
    return redact(f"{error} {said}".strip())


class Completions:
    """A server, its model, and the requests that it accepts.

    Attributes:
        extended: Whether it takes prompts as token ids, and fields that OpenAI's own server does not have: the repetition
            penalty, and the tokens that end an answer. vLLM, SGLang and llama.cpp take both, `transformers serve` neither. None:
            not tried yet.
        many: Whether it gives several answers to one request. None: not tried yet.
    """

    failures = (openai.OpenAIError, HalfAnswerError)

    def __init__(self, base_url: str, model: str, timeout_seconds: float, job: Job) -> None:
        self.base_url, self.model, self.timeout_seconds = base_url, model, timeout_seconds
        self.tokenizer, self.settings = job.prompt_format.tokenizer, job.settings
        config = AutoConfig.from_pretrained(model_path(job.model_name), revision=job.revision)
        check_rope_config(job.model_name, config)
        self.context = num_positions(config)
        configured = configured_end_ids(load_generation_config(job.model_name, job.revision))
        ends = configured | job.prompt_format.end_of_turn_ids()
        penalty = job.settings.repetition_penalty
        # vLLM takes what a request does not name from the model's generation_config.json.
        self.extras = {"top_k": -1, "min_p": 0.0, "repetition_penalty": penalty, "stop_token_ids": sorted(ends)}
        self.needed = [f"repetition_penalty {penalty}"] * (penalty != 1)
        if ends != configured:
            self.needed.append(
                f"stop_token_ids {sorted(ends - configured)}, which generation_config.json does not have"
            )
        self.extended: bool | None = None
        self.many: bool | None = None

    def connect(self) -> None:
        self.client = openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=MAX_RETRIES,
            timeout=self.timeout_seconds,
        )

    def given_up(self, error: Exception) -> ConnectionError:
        if isinstance(error, openai.NotFoundError):
            advice = "Give the model's name there as `--served_model_name`, and an address that ends in /v1"
        else:
            advice = "See to the server"
        return ConnectionError(
            f"The server at {self.base_url} fails for {self.model!r} ({type(error).__name__}: {_told(error)}). "
            f"{advice}, and run the command again: it goes on with the answers that are missing."
        )

    async def smaller_context(self) -> int | None:
        """Returns the smaller of the model's context and the server's, if the server gives it (vLLM does)."""
        try:
            models = await self.client.with_options(max_retries=0).models.list()
        except (openai.OpenAIError, json.JSONDecodeError):
            return self.context  # the first request tells more
        served = [getattr(each, "max_model_len", None) for each in models.data or [] if each.id == self.model]
        return min((length for length in [self.context, *served] if length is not None), default=None)

    async def find_form(self, draws: Draws) -> None:
        """Finds out which requests the server accepts, with answers of one token that are not kept."""
        one, several = Draws(draws.requests[:1], max_tokens=1), Draws(draws.requests, max_tokens=1)
        if self.extended is None:
            self.extended = True
            if refusal := await self._refusal(one):
                if self.needed:
                    raise ValueError(
                        f"The server at {self.base_url} does not take {' and '.join(self.needed)} ({_told(refusal)}). Use "
                        "vLLM's server, the backends vllm or transformers, or settings that do not need it."
                    )
                self.extended = False
                if refusal := await self._refusal(one):
                    raise ValueError(f"The server at {self.base_url} refuses every form of request. {_told(refusal)}")
                logger.warning(
                    "The server takes none of %s: values of its own for them may be at work. Leave such values out of the "
                    "model's generation_config.json.",
                    ", ".join(self.extras),
                )
        if self.many is None and len(draws.requests) > 1:
            self.many = await self._refusal(several) is None

    async def _refusal(self, draws: Draws) -> Exception | None:
        """Returns the error with which the server refuses a request; None if it answers."""
        # llama.cpp refuses several answers with a status of 500, which the client would try again for a minute.
        several = len(draws.requests) > 1
        try:
            samples = await self._complete(self.client.with_options(max_retries=1) if several else self.client, draws)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return error
        except self.failures as error:
            if several and isinstance(error, openai.InternalServerError):
                return error
            raise self.given_up(error) from None
        # `transformers serve` gives one answer, however many are asked for.
        return HalfAnswerError("fewer answers than asked for") if len(samples) < len(draws.requests) else None

    async def ask(self, draws: Draws) -> list[Sample]:
        """Returns the answers to draws of one problem."""
        samples = await self._complete(self.client, draws)
        if len(samples) < len(draws.requests):
            raise HalfAnswerError(f"{len(samples)} of {len(draws.requests)} answers to {draws.requests[0].id}")
        return samples

    async def _complete(self, client: openai.AsyncOpenAI, draws: Draws) -> list[Sample]:
        """Returns the server's answer. The request is sent again while only a part of the answer arrives."""
        for attempt in range(MAX_RETRIES + 1):
            try:
                return self._samples(draws, await client.completions.create(**self._body(draws)))
            except (json.JSONDecodeError, openai.APIResponseValidationError, HalfAnswerError) as error:
                if attempt == MAX_RETRIES:
                    raise HalfAnswerError(
                        f"half an answer to {draws.requests[0].id}, {attempt + 1} times: {error}"
                    ) from error
                await asyncio.sleep(min(0.5 * 2**attempt, 8))
        raise AssertionError("the last attempt returns or raises")

    def _body(self, draws: Draws) -> dict[str, Any]:
        first = draws.requests[0]
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(first.prompt_ids) if self.extended else prompt_text(self.tokenizer, first.prompt_ids),
            "max_tokens": draws.max_tokens,
            "temperature": 0.0 if first.greedy else self.settings.temperature,
            "top_p": 1.0 if first.greedy else self.settings.top_p,
            "seed": draw_seed(self.settings, first),
        }
        if len(draws.requests) > 1:
            body["n"] = len(draws.requests)
        return body | {"extra_body": self.extras} if self.extended else body

    def _samples(self, draws: Draws, completion: Any) -> list[Sample]:
        # The client checks no fields.
        choices = getattr(completion, "choices", None)
        if not choices:
            raise HalfAnswerError(f"no choices in {str(completion)[:200]!r}")
        choices = sorted(choices, key=lambda choice: choice.index)[: len(draws.requests)]
        for choice in choices:
            if choice.finish_reason not in _FINISH_REASONS or not isinstance(choice.text, str):
                raise HalfAnswerError(f"finish_reason {choice.finish_reason!r} after {str(choice.text)[-80:]!r}")
        counts = [len(self.tokenizer(choice.text, add_special_tokens=False)["input_ids"]) for choice in choices]
        if completion.usage is not None:  # one number for all choices
            counts = shares(completion.usage.completion_tokens, counts)
        return [
            Sample(
                *(request.id, request.greedy, request.sample, choice.text, count),
                finish_reason=_FINISH_REASONS[choice.finish_reason],
                seed=self.settings.seed,
                prompt=request.prompt,
            )
            for request, choice, count in zip(draws.requests, choices, counts, strict=False)
        ]
