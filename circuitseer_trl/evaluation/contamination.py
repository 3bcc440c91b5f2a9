"""Does a model know a benchmark's problems by heart, and does a pool have them?

As in Wu et al. (arXiv 2507.10532) a model gets the first 60% of a problem, without a template, and greedily writes on. Ours: the
cut is not within a word, ROUGE-L is of as many words as the rest has, and an exact match is of the whole rest without spaces.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.answers import Sample
from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.answering.backends.base import Request
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.store import SampleStore
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.metrics import mean_interval, wilson_interval
from circuitseer_trl.evaluation.recited import cut_problem, is_recited, rouge_l
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.pool.word_ngrams import word_ngrams

FOLDER = "contamination"


def rest_requests(problems: Iterable[Problem], prompts: PromptFormat) -> list[Request]:
    """Asks for the rest of each problem that can be cut, with room for a rest in more tokens than the tokenizer makes of it."""
    requests = []
    for problem in problems:
        if (parts := cut_problem(problem.question)) is not None:
            ids = tuple(prompts.tokenizer(parts.start)["input_ids"])
            rest = len(prompts.tokenizer(parts.rest, add_special_tokens=False)["input_ids"])
            requests.append(Request(problem.id, ids, fingerprint(ids), True, 0, max_new_tokens=rest + rest // 4 + 8))
    return requests


def measure_recited(problems: Sequence[Problem], folder: Path, benchmark: str) -> dict[str, Any]:
    """How much of the rests a model wrote, from the stored texts: a part of the benchmark's results."""
    samples = SampleStore(folder / FOLDER, benchmark).read()
    pairs = [
        (parts.rest, samples[problem.id, True, 0])
        for problem in problems
        if (parts := cut_problem(problem.question)) is not None
    ]
    return {"num_cut_problems": len(pairs), **(_shares(pairs) if pairs else {})}


def _shares(pairs: Sequence[tuple[str, Sample]]) -> dict[str, Any]:
    exact = sum(is_recited(rest, sample.text) for rest, sample in pairs)
    common = [rouge_l(rest, sample.text) for rest, sample in pairs]
    return {
        "rest_exact_match": exact / len(pairs),
        "rest_exact_match_interval": wilson_interval(exact, len(pairs)),
        "rest_rouge_l": sum(common) / len(common),
        "rest_rouge_l_interval": mean_interval(common),
    }


def measure_overlap(config: PoolConfig, benchmarks: Mapping[str, Sequence[Problem]]) -> dict[str, dict[str, Any]]:
    """How many problems of each benchmark share a run of words with a problem of a pool, and how many rows of the pool do.

    The runs are those of `decontaminate_against`, of `ngram_size` words.
    """
    pool = list(pool_from_config(config).examples["problem"])
    questions = [problem.question for problems in benchmarks.values() for problem in problems]
    grams, owners = word_ngrams([*pool, *questions], config.ngram_size)
    in_pool = owners < len(pool)
    found, start = {}, len(pool)
    for name, problems in benchmarks.items():
        own = (start <= owners) & (owners < start + len(problems))
        shared = np.isin(grams, np.intersect1d(grams[own], grams[in_pool]))
        start += len(problems)
        found[name] = {
            "pool_overlap_ratio": len(np.unique(owners[shared & own])) / len(problems),
            "num_pool_rows": len(np.unique(owners[shared & in_pool])),
        }
    return found
