"""Which answers are missing? They are divided among the processes, generated, and stored."""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from circuitseer_trl.answers import Sample, sample_name
from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.evaluation.answering.backends.base import Backend, Job, Request
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.store import SampleStore, StoredSamples
from circuitseer_trl.evaluation.benchmarks import Problem

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0
_SHOWN = 3  # broken lines in a message


@dataclass(frozen=True)
class Timing:
    """Seconds of a benchmark's answers, and the number of tokens that all processes generated for them."""

    seconds: float = 0.0
    num_tokens: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        return round(self.num_tokens / self.seconds, 1) if self.num_tokens else None


def join_processes(backend: str) -> PartialState:
    """Joins the processes of this launch. A process that has finished waits for the others without a time limit.

    If the model runs elsewhere, such as in the processes of vLLM's engines, the processes of the launch use no GPU.
    """
    if not PartialState._shared_state:
        on_cpu = not backend_class(backend).runs_in_launch or not torch.cuda.is_available()
        PartialState(cpu=on_cpu, timeout=timedelta(days=7))  # by default NCCL gives up after ten minutes
    return process_state()


def make_requests(
    problems: list[Problem], prompts: PromptFormat | None, greedy: bool, num_samples: int
) -> list[Request]:
    """Lists the answers that a benchmark's problems need. Replayed answers have no prompts."""
    draws = [(True, 0)] * greedy + [(False, number) for number in range(num_samples)]
    requests = []
    for problem in problems:
        ids = tuple(prompts.token_ids(problem.question)) if prompts is not None else ()
        prompt = fingerprint(ids or problem.question)
        requests += [Request(problem.id, ids, prompt, is_greedy, number) for is_greedy, number in draws]
    return requests


def missing_requests(found: StoredSamples, requests: list[Request], known_ids: Collection[str]) -> list[Request]:
    """Returns the requests that have no answer yet.

    Args:
        found: The answers that are there.
        known_ids: Ids of all problems of the benchmark, with those beyond a limit.

    Raises:
        ValueError: There is an answer to another prompt than the request's, or to no problem of the benchmark.
    """
    by_key = {(request.id, request.greedy, request.sample): request for request in requests}
    for key, sample in found.samples.items():
        stale = key in by_key and sample.prompt != by_key[key].prompt
        if stale or sample.id not in known_ids:
            now = "another prompt than it has now" if stale else "which is no problem of the benchmark"
            raise ValueError(
                f"{found.places[key]} answers {sample_name(key)}, {now}: the benchmark's file or the chat template has changed. "
                "Choose another `output_dir`."
            )
    return [request for key, request in by_key.items() if key not in found.samples]


def share_of_rank(requests: list[Request], state: PartialState) -> list[Request]:
    """Returns the requests of this process. All requests of a problem go to one process, since they share its prompt."""
    ids = list(dict.fromkeys(request.id for request in sorted(requests, key=lambda r: -len(r.prompt_ids))))
    mine = set(ids[state.process_index :: state.num_processes])
    return [request for request in requests if request.id in mine]


@dataclass(frozen=True)
class Wanted:
    """The answers that a benchmark's file must have.

    Attributes:
        folder: Folder of the file.
        known_ids: Ids of all problems of the benchmark.
        note: What the progress bar adds to the benchmark's name.
    """

    folder: Path
    benchmark: str
    requests: list[Request]
    known_ids: Collection[str]
    note: str = ""


def answer_all(files: Iterable[Wanted], backend: Backend, job: Job, state: PartialState) -> list[Timing]:
    """Generates the missing answers of all files; each process answers its share of the problems.

    Args:
        files: What is wanted, in the order of the timings.
        backend: Source of the answers. It is opened only if an answer is missing.
    """
    opened = False
    timings = []
    for wanted in files:
        name = wanted.benchmark
        store = SampleStore(wanted.folder, name, state.process_index, job.made_with)
        found = store.examine()
        missing = missing_requests(found, wanted.requests, wanted.known_ids)
        order = list(dict.fromkeys(request.id for request in wanted.requests))
        state.wait_for_everyone()  # all processes have read before any writes
        if found.broken and state.is_main_process:
            _warn_broken(store.path, found.broken)
            store.merge(order)  # a new answer would be one more of two that contradict each other
        state.wait_for_everyone()
        mine = share_of_rank(missing, state)
        if mine and not opened:
            backend.open(job)
            opened = True
        store.drop_torn_line()
        start = time.perf_counter()
        num_tokens = 0
        if mine:
            with _progress(name + wanted.note, len(mine), state.is_main_process) as (bar, count):
                for answered in backend.generate(mine, count):
                    store.append(answered)
                    bar.update(len(answered))
                num_tokens = count.num_tokens
        state.wait_for_everyone()
        if state.num_processes > 1:
            num_tokens = sum(gather_object([num_tokens]))
        if state.is_main_process:
            samples = store.merge(order)
            if missing and draws_repeat(samples):
                logger.warning(
                    "%s: the draws of every problem are all the same. If they are from a server, does it sample? "
                    "`transformers serve` does so only for a model whose generation_config.json has `do_sample: true`.",
                    name,
                )
        timings.append(Timing(time.perf_counter() - start, num_tokens) if missing else Timing())
    return timings


def _warn_broken(path: Path, broken: list[str]) -> None:
    more = f" (and {len(broken) - _SHOWN} more)" if len(broken) > _SHOWN else ""
    logger.warning(
        "%s: %d lines are left out, and their answers are generated again. %s%s",
        *(path, len(broken), " ".join(broken[:_SHOWN]), more),
    )


def draws_repeat(samples: Iterable[Sample]) -> bool:
    """Whether the draws of every problem are all the same, among problems with several draws."""
    texts = defaultdict(list)
    for sample in samples:
        if not sample.greedy:
            texts[sample.id].append(sample.text)
    several = [each for each in texts.values() if len(each) > 1]
    return bool(several) and all(len(set(each)) == 1 for each in several)


class _TokenCount:
    """Counts tokens, and shows their rate on the bar."""

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
    """Shows a bar with the number of answers, tokens per second, and the remaining time."""
    with tqdm(total=num_answers, desc=name, unit="answer", disable=not shown) as bar:
        yield bar, _TokenCount(bar)
