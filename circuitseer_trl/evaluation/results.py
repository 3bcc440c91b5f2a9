"""What is the result of a benchmark's samples? The content of `verdicts/` and of `results.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.answers import Sample, SampleKey, VerdictLine, json_line
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.metrics import average_interval, majority, mean_interval, pass_at_k
from circuitseer_trl.grading.grader import Grader, Question, Verdict

RunResults = dict[str, Any]


def measure_benchmark(
    problems: list[Problem],
    samples: Mapping[SampleKey, Sample],
    *,
    greedy: bool,
    num_samples: int,
    vote: str,
    grader: Grader,
) -> tuple[dict[str, Any], str]:
    """Grades one benchmark's samples and computes its metrics.

    Pass@1 is that of the greedy answer if there is one, otherwise the mean over the sampled answers. Majority@n, avg@n and
    pass@k are over the sampled answers. The accuracy among finished answers is over the answers of Pass@1 that are not cut.

    Returns:
        The benchmark's part of `results.json`, and the lines of its verdicts file.
    """
    keys = [(True, 0)] * greedy + [(False, number) for number in range(num_samples)]
    wanted = [(problem, samples[problem.id, *key]) for problem in problems for key in keys]
    questions = {problem.id: Question(problem.gold, problem.choices, problem.question) for problem in problems}
    verdicts = grader.grade([(sample.text, questions[problem.id]) for problem, sample in wanted])

    lines, by_problem = [], {problem.id: list[tuple[Sample, Verdict]]() for problem in problems}
    for (problem, sample), verdict in zip(wanted, verdicts, strict=True):
        by_problem[problem.id].append((sample, verdict))
        line = VerdictLine(
            id=sample.id,
            greedy=sample.greedy,
            sample=sample.sample,
            extracted=verdict.extracted,
            verdict=verdict.correct,
            reason=verdict.reason,
            question=problem.question,
        )
        lines.append(json_line(line))

    pass_values, majority_values, sampled_correct = [], [], []
    for problem in problems:
        drawn = [(sample, verdict) for sample, verdict in by_problem[problem.id] if not sample.greedy]
        correct = [verdict.correct for _, verdict in drawn]
        first = [verdict.correct for sample, verdict in by_problem[problem.id] if sample.greedy] or correct
        pass_values.append(sum(first) / len(first))
        if num_samples:
            sampled_correct.append(sum(correct))
            answers = [verdict.extracted for _, verdict in drawn]
            if vote == "raw":
                majority_values.append(majority([answer or None for answer in answers], correct, ties="first"))
            else:
                classes = grader.classes(answers, [verdict for _, verdict in drawn], questions[problem.id])
                majority_values.append(majority(classes, correct))

    total = len(wanted)
    finished = [
        float(verdict.correct)
        for (_, sample), verdict in zip(wanted, verdicts, strict=True)
        if sample.greedy == greedy and sample.finish_reason == "stop"
    ]
    result: dict[str, Any] = {
        "num_problems": len(problems),
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
        "truncated_ratio": _known_mean(
            [None if sample.finish_reason is None else sample.finish_reason != "stop" for _, sample in wanted]
        ),
        "unanswered_ratio": sum(verdict.extracted is None for verdict in verdicts) / total,
        "timeout_ratio": sum(verdict.reason in ("timeout", "crash") for verdict in verdicts) / total,
        "no_gold": sum(not problem.gold for problem in problems),
        "mean_tokens": _known_mean([sample.num_tokens for _, sample in wanted]),
        "pass_at_1_values": pass_values,
        "majority_values": majority_values,
    }
    return result, "".join(lines)


def measure_average(benchmarks: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean over benchmarks of Pass@1, and of Majority@n over the benchmarks that have one."""
    values = [result["pass_at_1_values"] for result in benchmarks.values()]
    voted = [result["majority_values"] for result in benchmarks.values() if result["majority_values"]]
    return {
        "num_benchmarks": len(values),
        "pass_at_1": _mean([_mean(each) for each in values]),
        "pass_at_1_interval": average_interval(values),
        "majority_at_n": _mean([_mean(each) for each in voted]) if voted else None,
        "majority_at_n_interval": average_interval(voted) if voted else None,
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _known_mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is not known, as for some replayed answers."""
    known = [float(value) for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None
