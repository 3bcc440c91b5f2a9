"""What is the result of a benchmark's verdicts? Its part of `results.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.answers import Sample, SampleKey, VerdictLine
from circuitseer_trl.evaluation.metrics import TIE_RULES, average_interval, majority, mean_interval, pass_at_k

RunResults = dict[str, Any]


def measure_benchmark(
    lines: Sequence[VerdictLine], samples: Mapping[SampleKey, Sample], *, vote: str
) -> dict[str, Any]:
    """Computes the metrics of one benchmark from its verdicts, and from the lengths and ends of its answers.

    Pass@1 is that of the greedy answer if there is one, otherwise the mean over the sampled answers. Majority@n, avg@n and
    pass@k are over the sampled answers. The accuracy among finished answers is over the answers of Pass@1 that are not cut.
    """
    greedy = any(line.greedy for line in lines)
    by_problem: dict[str, list[VerdictLine]] = {}
    for line in lines:
        by_problem.setdefault(line.id, []).append(line)
    draws = [[line for line in each if not line.greedy] for each in by_problem.values()]
    num_samples = len(draws[0])
    first = [[line.verdict for line in each if line.greedy == greedy] for each in by_problem.values()]
    pass_values = [sum(each) / len(each) for each in first]
    majority_values, sampled_correct = [], []
    if num_samples:
        sampled_correct = [sum(line.verdict for line in each) for each in draws]
        majority_values = [
            majority([line.vote_class for line in each], [line.verdict for line in each], TIE_RULES[vote])
            for each in draws
        ]
    ends = {line.key: samples[line.key].finish_reason for line in lines}
    finished = [float(line.verdict) for line in lines if line.greedy == greedy and ends[line.key] == "stop"]
    return {
        "num_problems": len(by_problem),
        "num_samples": num_samples,
        "pass_at_1": _mean(pass_values),
        "pass_at_1_interval": mean_interval(pass_values),
        "pass_at_1_from": "greedy" if greedy else "samples",
        "accuracy_finished": _mean(finished) if finished else None,
        "avg_at_n": _mean([right / num_samples for right in sampled_correct]) if num_samples else None,
        "majority_at_n": _mean(majority_values) if num_samples else None,
        "majority_at_n_interval": mean_interval(majority_values) if num_samples else None,
        "pass_at_k": {
            str(k): _mean([pass_at_k(num_samples, right, k) for right in sampled_correct])
            for k in (1, 2, 4, 8, 16, 32, 64)
            if k <= num_samples
        },
        "truncated_ratio": _known_mean([None if end is None else end != "stop" for end in ends.values()]),
        "unanswered_ratio": _mean([line.extracted is None for line in lines]),
        "undecided_ratio": _mean([bool(line.undecided) for line in lines]),
        "timeout_ratio": _mean([line.reason in ("timeout", "crash") for line in lines]),
        "no_gold": sum(not each[0].reference for each in by_problem.values()),
        "num_errata": sum(each[0].erratum is not None for each in by_problem.values()),
        "mean_tokens": _known_mean([samples[line.key].num_tokens for line in lines]),
        "pass_at_1_values": pass_values,
        "majority_values": majority_values,
    }


def measure_average(benchmarks: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean over benchmarks of Pass@1, and of Majority@n over the benchmarks that have one."""
    values = [result["pass_at_1_values"] for result in benchmarks.values()]
    voted = [result["majority_values"] for result in benchmarks.values() if result["majority_values"]]
    return {
        "num_benchmarks": len(values),
        "pass_at_1": _mean([_mean(each) for each in values]),
        "pass_at_1_interval": average_interval(values),
        "num_benchmarks_with_majority": len(voted),
        "majority_at_n": _mean([_mean(each) for each in voted]) if voted else None,
        "majority_at_n_interval": average_interval(voted) if voted else None,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _known_mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is not known, as for some replayed answers."""
    known = [float(value) for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None
