"""Which answers are missing, who generates them, and where they go."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from circuitseer_trl.answers import Sample
from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.evaluation.answering.backends.base import Backend, Job, Request
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.store import SampleStore
from circuitseer_trl.evaluation.benchmarks import Problem

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Timing:
    """How long a benchmark's answers took, and how many tokens all processes generated for them."""

    seconds: float = 0.0
    num_tokens: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        return round(self.num_tokens / self.seconds, 1) if self.num_tokens else None


def join_processes(backend: str) -> PartialState:
    """The processes of this launch; one that has answered waits as long as it must for those that have not.

    Where the model runs elsewhere, such as in the processes of vLLM's engines, those of the launch leave the GPUs alone.
    """
    if not PartialState._shared_state:
        on_cpu = not backend_class(backend).runs_in_launch or not torch.cuda.is_available()
        PartialState(cpu=on_cpu, timeout=timedelta(days=7))  # by default NCCL gives up after ten minutes
    return process_state()


def make_requests(
    problems: list[Problem], prompts: PromptFormat | None, greedy: bool, num_samples: int
) -> list[Request]:
    """The answers that the problems of a benchmark are to get; without prompts where they are replayed."""
    draws = [(True, 0)] * greedy + [(False, number) for number in range(num_samples)]
    requests = []
    for problem in problems:
        ids = tuple(prompts.token_ids(problem.question)) if prompts is not None else ()
        prompt = fingerprint(ids or problem.question)
        requests += [Request(problem.id, ids, prompt, is_greedy, number) for is_greedy, number in draws]
    return requests


def missing_requests(store: SampleStore, requests: list[Request]) -> list[Request]:
    """Those of the requests that the store has no answer to."""
    done = store.read()
    stale = [
        request.id
        for request in requests
        if (sample := done.get((request.id, request.greedy, request.sample))) and sample.prompt != request.prompt
    ]
    if stale:
        raise ValueError(
            f"{store.path} answers other prompts than now, for instance of {stale[0]}: the benchmark's file or "
            "the chat template has changed. Choose another `output_dir`."
        )
    return [request for request in requests if (request.id, request.greedy, request.sample) not in done]


def share_of_rank(requests: list[Request], state: PartialState) -> list[Request]:
    """Whole problems go to one process, so that a problem's draws share the pass over its prompt."""
    ids = list(dict.fromkeys(request.id for request in sorted(requests, key=lambda r: -len(r.prompt_ids))))
    mine = set(ids[state.process_index :: state.num_processes])
    return [request for request in requests if request.id in mine]


def answer_all(
    folder: Path,
    requests: dict[str, list[Request]],
    backend: Backend,
    job: Job,
    state: PartialState,
) -> dict[str, Timing]:
    """Generates what is missing of every benchmark, this process its share of the problems.

    Args:
        folder: Where a JSONL file for each benchmark is, or comes to be.
        requests: All answers that each benchmark is to have.
        backend: What answers; it is opened for the job only if an answer is missing.
    """
    opened = False
    timings = {}
    for name, wanted in requests.items():
        store = SampleStore(folder, name, state.process_index)
        missing = missing_requests(store, wanted)
        state.wait_for_everyone()  # all processes have read before any writes
        mine = share_of_rank(missing, state)
        if mine and not opened:
            backend.open(job)
            opened = True
        store.drop_torn_line()
        start = time.perf_counter()
        num_tokens = 0
        if mine:
            with _progress(name, len(mine), state.is_main_process) as (bar, count):
                for samples in backend.generate(mine, count):
                    store.append(samples)
                    bar.update(len(samples))
                num_tokens = count.num_tokens
        state.wait_for_everyone()
        if state.num_processes > 1:
            num_tokens = sum(gather_object([num_tokens]))
        if state.is_main_process:
            store.merge(list(dict.fromkeys(request.id for request in wanted)))
            if missing and draws_repeat(store.read().values()):
                logger.warning(
                    "%s: the draws of every problem are all the same. If they are from a server, does it sample? "
                    "`transformers serve` does so only for a model whose generation_config.json has `do_sample: true`.",
                    name,
                )
        timings[name] = Timing(time.perf_counter() - start, num_tokens) if missing else Timing()
    return timings


def draws_repeat(samples: Iterable[Sample]) -> bool:
    """Whether there are problems with several draws, and none of them has two that differ."""
    texts = defaultdict(list)
    for sample in samples:
        if not sample.greedy:
            texts[sample.id].append(sample.text)
    several = [each for each in texts.values() if len(each) > 1]
    return bool(several) and all(len(set(each)) == 1 for each in several)


class _TokenCount:
    """Adds up tokens, and shows their rate on the bar."""

    def __init__(self, bar: tqdm) -> None:
        self.bar, self.num_tokens = bar, 0
        self._start = self._shown = time.perf_counter()

    def __call__(self, num_tokens: int) -> None:
        self.num_tokens += num_tokens
        now = time.perf_counter()
        self.bar.set_postfix_str(f"{self.num_tokens / (now - self._start):.0f} tokens/s", refresh=False)
        if now - self._shown > _REFRESH_SECONDS:  # by itself the bar waits until an answer is finished
            self._shown = now
            self.bar.refresh()


@contextmanager
def _progress(name: str, num_answers: int, shown: bool) -> Iterator[tuple[tqdm, _TokenCount]]:
    """A bar with answers and tokens a second and the time left."""
    with tqdm(total=num_answers, desc=name, unit="answer", disable=not shown) as bar:
        yield bar, _TokenCount(bar)
