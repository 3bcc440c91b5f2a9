"""Any server with OpenAI's completions endpoint: vLLM, SGLang, llama.cpp, `transformers serve`.

Completions and not chat: the prompt is then the one of every other backend, to the token. Behind a chat endpoint the
server's template writes it, with system turns and parsers of its own that no result would show.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from circuitseer_trl.answers import Sample
from circuitseer_trl.checks import check_count, check_positive
from circuitseer_trl.evaluation.answering.backends.base import (
    Backend,
    Job,
    Request,
    cut_to_context,
    draws_of_problems,
)
from circuitseer_trl.redaction import check_address


@dataclass
class OpenAIBackend(Backend):
    """Sends requests to a server: one for each problem if the server can return several answers, else one for each answer.

    Attributes:
        served_model_name: The model's name on the server; None is `model_name_or_path`.
        concurrency: Number of requests at a time.
        request_timeout_seconds: Time after which a request is sent again.
    """

    extra: ClassVar[str | None] = "openai"

    base_url: str | None = None
    served_model_name: str | None = None
    concurrency: int = 32
    request_timeout_seconds: float = 1800.0

    def __post_init__(self) -> None:
        check_count("concurrency", self.concurrency)
        check_positive("request_timeout_seconds", self.request_timeout_seconds)
        if not str(self.base_url).startswith(("http://", "https://")):
            raise ValueError(
                "`backend: openai` needs the server's address as `base_url`, such as http://localhost:8000/v1, "
                f"got {self.base_url!r}."
            )
        check_address("base_url", str(self.base_url), "Set the key as the environment variable OPENAI_API_KEY.")

    def open(self, job: Job) -> None:
        from circuitseer_trl.evaluation.answering.backends.completions import Completions

        self.server = Completions(
            str(self.base_url), self.served_model_name or job.model_name, self.request_timeout_seconds, job
        )
        self.settings = job.settings

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        failure: Exception | None = None
        with asyncio.Runner() as runner:
            self.server.connect()
            limited, too_long = cut_to_context(requests, self.settings, runner.run(self.server.smaller_context()))
            if too_long:
                yield too_long
            problems = draws_of_problems(limited)
            if problems:
                runner.run(self.server.find_form(max(problems, key=lambda draws: len(draws.requests))))
            if self.server.many is False:
                problems = [each for draws in problems for each in draws.one_by_one()]
            coming, under_way = iter(problems), set[asyncio.Task[list[Sample]]]()
            while True:
                room = self.concurrency - len(under_way) if failure is None else 0
                for draws in islice(coming, room):
                    under_way.add(runner.get_loop().create_task(self.server.ask(draws)))
                if not under_way:
                    break
                done, under_way = runner.run(_first_of(under_way))
                for task in done:
                    try:
                        samples = task.result()
                    except self.server.failures as error:
                        failure = failure or error  # answers that are under way are waited for and kept
                        continue
                    on_tokens(sum(sample.num_tokens or 0 for sample in samples))
                    yield samples
            runner.run(self.server.client.close())
        if failure is not None:
            raise self.server.given_up(failure) from None


async def _first_of(
    tasks: set[asyncio.Task[list[Sample]]],
) -> tuple[set[asyncio.Task[list[Sample]]], set[asyncio.Task[list[Sample]]]]:
    return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
