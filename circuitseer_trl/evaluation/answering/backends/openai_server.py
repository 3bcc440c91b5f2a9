"""Any server with OpenAI's completions endpoint: vLLM, SGLang, llama.cpp, `transformers serve`.

Completions and not chat: the prompt is then the one of every other backend, to the token. Behind a chat endpoint the
server's template writes it, with system turns and parsers of its own that no result would tell of.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import openai
from transformers import AutoConfig, PreTrainedTokenizerBase

from circuitseer_trl.answers import FinishReason, Sample
from circuitseer_trl.evaluation.answering.backends.base import (
    Draws,
    Request,
    SamplingSettings,
    configured_end_ids,
    context_length,
    cut_to_context,
    draw_seed,
    draws_of_problems,
    load_generation_config,
)
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.rope_check import check_rope_config
from circuitseer_trl.modeling.encoding import decode_tokens
from circuitseer_trl.modeling.loading import model_path

logger = logging.getLogger(__name__)
for _name in ("httpx", "httpx2"):  # a line for every request otherwise; tries that fail are told by `openai`
    logging.getLogger(_name).setLevel(logging.WARNING)

# The client waits 0.5 s, 1 s, 2 s, ... 8 s between tries: about a minute, in which a server can start again.
MAX_RETRIES = 10
_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class HalfAnswerError(Exception):
    """An answer that arrived, but not whole."""


@dataclass(frozen=True)
class Form:
    """How a server wants to be asked.

    Args:
        extras (`bool`): It takes fields that OpenAI's own does not: the repetition penalty, and what ends an answer.
        ids (`bool`): It takes a prompt as token ids.
        many (`bool`, *optional*): It gives several answers to one request. `None`: not tried yet.
    """

    extras: bool
    ids: bool
    many: bool | None


def prompt_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text that a server's tokenizer turns into exactly these ids, with what it adds by itself."""
    for num_added in (0, 1):
        text = decode_tokens(tokenizer, ids[num_added:])
        if tokenizer(text)["input_ids"] == list(ids):
            return text
    raise ValueError(
        "The server refuses a prompt as token ids, and as text it would read another prompt than the other backends "
        f"(beginning {decode_tokens(tokenizer, ids[:20])!r}). Use a server that takes token ids, such as vLLM."
    )


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers with the sum `total`, in proportion to the weights, the largest remainders rounded up."""
    weights = weights if sum(weights) else [1] * len(weights)
    exact = [total * weight / sum(weights) for weight in weights]
    result = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda index: result[index] - exact[index])
    for index in order[: total - sum(result)]:
        result[index] += 1
    return result


def _told(error: Exception) -> str:
    """An error with what the server said of it."""
    said = error.response.text[:300] if isinstance(error, openai.APIStatusError) else str(error.__cause__ or "")
    return f"{error} {said}".strip()


class OpenAIBackend:
    """Asks a server, one request a problem where it gives several answers to one, else one an answer.

    Args:
        served_model_name (`str`): The model's name on the server.
        concurrency (`int`): Requests that are under way at a time.
        timeout_seconds (`float`): A request that takes longer is sent again.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None,
        prompts: PromptFormat,
        settings: SamplingSettings,
        *,
        base_url: str,
        served_model_name: str,
        concurrency: int,
        timeout_seconds: float,
    ) -> None:
        config = AutoConfig.from_pretrained(model_path(model_name), revision=revision)
        check_rope_config(model_name, config)
        self.base_url, self.model, self.timeout_seconds = base_url, served_model_name, timeout_seconds
        self.concurrency, self.tokenizer, self.settings = concurrency, prompts.tokenizer, settings
        configured = configured_end_ids(load_generation_config(model_name, revision))
        ends = configured | prompts.end_of_turn_ids()
        self.extras = {
            # vLLM takes what a request does not name from the model's generation_config.json.
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": settings.repetition_penalty,
            "stop_token_ids": sorted(ends),
        }
        self.needed = [f"repetition_penalty {settings.repetition_penalty}"] * (settings.repetition_penalty != 1)
        if ends != configured:
            self.needed.append(
                f"stop_token_ids {sorted(ends - configured)}, which generation_config.json does not have"
            )
        self.context = context_length(config)
        self.form: Form | None = None

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        failure: Exception | None = None
        with asyncio.Runner() as runner:
            client = openai.AsyncOpenAI(
                base_url=self.base_url,
                api_key=os.environ.get("OPENAI_API_KEY") or "none",
                max_retries=MAX_RETRIES,
                timeout=self.timeout_seconds,
            )
            context = runner.run(self._smaller_context(client))
            limited, too_long = cut_to_context(requests, self.settings, context)
            if too_long:
                yield too_long
            problems = draws_of_problems(limited)
            first = max(problems, key=lambda draws: len(draws.requests), default=None)
            if first is not None and (self.form is None or (self.form.many is None and len(first.requests) > 1)):
                try:
                    runner.run(self._find_form(client, Draws(first.requests, max_tokens=1)))
                except (openai.OpenAIError, HalfAnswerError) as error:
                    raise self._given_up(error) from None
            if self.form is not None and self.form.many is False:
                problems = [Draws((request,), draws.max_tokens) for draws in problems for request in draws.requests]

            coming, under_way = iter(problems), set[asyncio.Task[list[Sample]]]()
            while True:
                room = self.concurrency - len(under_way) if failure is None else 0
                for draws in islice(coming, room):
                    under_way.add(runner.get_loop().create_task(self._ask(client, draws)))
                if not under_way:
                    break
                done, under_way = runner.run(_first_of(under_way))
                for task in done:
                    try:
                        samples = task.result()
                    except (openai.OpenAIError, HalfAnswerError) as error:
                        failure = failure or error  # answers that are under way are waited for and kept
                        continue
                    on_tokens(sum(sample.num_tokens or 0 for sample in samples))
                    yield samples
            runner.run(client.close())
        if failure is not None:
            raise self._given_up(failure) from None

    def _given_up(self, error: Exception) -> ConnectionError:
        if isinstance(error, openai.NotFoundError):
            advice = "Give the model's name there as `--served_model_name`, and an address that ends in /v1"
        else:
            advice = "See to the server"
        return ConnectionError(
            f"The server at {self.base_url} fails for {self.model!r} ({type(error).__name__}: {_told(error)}). "
            f"{advice}, and run the command again: it goes on with the answers that are missing."
        )

    async def _smaller_context(self, client: openai.AsyncOpenAI) -> int | None:
        """The model's context, or what the server leaves of it, where it says so (vLLM does)."""
        try:
            models = await client.with_options(max_retries=0).models.list()
        except (openai.OpenAIError, json.JSONDecodeError):
            return self.context  # the first request tells more
        served = [getattr(each, "max_model_len", None) for each in models.data or [] if each.id == self.model]
        return min((length for length in [self.context, *served] if length is not None), default=None)

    async def _find_form(self, client: openai.AsyncOpenAI, draws: Draws) -> None:
        """Finds out how the server wants to be asked, by what it refuses; the answers are not kept."""
        many = (True, False) if len(draws.requests) > 1 else (None,)
        forms = [Form(*each) for each in product((True, False), (True, False), many)]
        if self.form is not None:
            forms = [form for form in forms if (form.extras, form.ids) == (self.form.extras, self.form.ids)]
        refusals: list[Exception] = []
        for form in forms:
            if not form.extras and self.needed:
                raise ValueError(
                    f"The server at {self.base_url} does not take {' and '.join(self.needed)} ({_told(refusals[-1])}). "
                    "Use vLLM's server, the backends vllm or transformers, or settings that do not need it."
                )
            self.form = form
            try:
                await self._ask(client, draws)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refusals.append(error)
                continue
            if not form.extras:
                logger.warning(
                    "The server takes none of %s: values of its own for them may be at work. Leave such values out of the "
                    "model's generation_config.json.",
                    ", ".join(self.extras),
                )
            return
        raise ValueError(f"The server at {self.base_url} refuses every form of request. {_told(refusals[-1])}")

    async def _ask(self, client: openai.AsyncOpenAI, draws: Draws) -> list[Sample]:
        """Answers to some draws of a problem, asked for again while they arrive in halves."""
        assert self.form is not None
        if len(draws.requests) > 1 and not self.form.many:
            alone = [Draws((request,), draws.max_tokens) for request in draws.requests]
            # One after the other: `concurrency` counts this as one.
            return [sample for each in alone for sample in await self._ask(client, each)]
        for attempt in range(MAX_RETRIES + 1):
            try:
                completion = await client.completions.create(**self._body(draws, self.form))
                samples = self._samples(draws, completion)
                break
            except (json.JSONDecodeError, openai.APIResponseValidationError, HalfAnswerError) as error:
                if attempt == MAX_RETRIES:
                    raise HalfAnswerError(
                        f"half an answer to {draws.requests[0].id}, {attempt + 1} times: {error}"
                    ) from error
                await asyncio.sleep(min(0.5 * 2**attempt, 8))
        if len(samples) < len(draws.requests):  # `transformers serve` passes over n
            self.form = Form(self.form.extras, self.form.ids, many=False)
            samples += await self._ask(client, Draws(draws.requests[len(samples) :], draws.max_tokens))
        return samples

    def _body(self, draws: Draws, form: Form) -> dict[str, Any]:
        first = draws.requests[0]
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(first.prompt_ids) if form.ids else prompt_text(self.tokenizer, first.prompt_ids),
            "max_tokens": draws.max_tokens,
            "temperature": 0.0 if first.greedy else self.settings.temperature,
            "top_p": 1.0 if first.greedy else self.settings.top_p,
            "seed": draw_seed(self.settings, first),
        }
        if len(draws.requests) > 1:
            body["n"] = len(draws.requests)
        return body | {"extra_body": self.extras} if form.extras else body

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


async def _first_of(
    tasks: set[asyncio.Task[list[Sample]]],
) -> tuple[set[asyncio.Task[list[Sample]]], set[asyncio.Task[list[Sample]]]]:
    return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
