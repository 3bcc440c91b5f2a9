"""Is one run better than another? On the same problems, their difference is more certain than either result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import Any

from circuitseer_trl.evaluation.metrics import Interval, combined_interval, difference_interval
from circuitseer_trl.evaluation.verdicts import read_verdicts

# Settings for the subject, the place and the speed of a measurement. All other settings are about its manner.
WHAT_AND_WHERE = {
    *("model_name_or_path", "model_revision", "model_fingerprint", "output_dir", "benchmarks", "benchmarks_dir"),
    *("batch_size", "num_grading_workers", "report_to", "tensor_parallel_size"),
    *("base_url", "served_model_name", "concurrency", "request_timeout_seconds", "replay_from", "replayed"),
    *("contamination", "contamination_pool", "second_grader"),
}
# The measures with a difference: those of benchmarks by their key in `results.json`, and those of held-out rows. The loss is in
# nats per token, and lower is better.
MEASURES = {
    "pass_at_1": "Pass@1",
    "majority_at_n": "Majority@n",
    "held_out_loss": "held-out loss",
    "held_out_exact": "held-out exact match",
}


@dataclass(frozen=True)
class Difference:
    """Pass@1 or Majority@n of a run minus that of another one, the baseline, on the same problems.

    Attributes:
        value: Mean over the problems, or the mean over benchmarks of their means.
        interval: 95% interval over problems, each with the results of both runs.
        num_better: Number of problems on which the run is better than the baseline.
        num_worse: Number of problems on which the run is worse.
        p_value: Two-sided exact sign test on these two numbers. Problems without a difference do not count.
    """

    value: float
    interval: Interval
    num_better: int
    num_worse: int
    p_value: float


@dataclass(frozen=True)
class PairedComparison:
    """The differences of a run to a baseline. A text in place of a difference is the reason why there is none.

    Attributes:
        benchmarks: The difference on each benchmark by name, in the baseline's order.
        average: The difference of the unweighted mean over benchmarks, with the sign test over all their problems; None for
            a single benchmark.
        settings: Settings that differ: (name, the baseline's value, the run's value).
        majority: The differences of Majority@n, by benchmark, where both runs have a vote.
        majority_average: The difference of their mean; None for fewer than two, or if a benchmark has a vote in only one run.
    """

    benchmarks: dict[str, Difference | str]
    average: Difference | str | None
    settings: list[tuple[str, Any, Any]]
    majority: dict[str, Difference] = field(default_factory=dict)
    majority_average: Difference | None = None


def sign_test(num_better: int, num_worse: int) -> float:
    """Two-sided p-value: the probability that fair coins fall at least as unevenly."""
    total = num_better + num_worse
    tail = sum(comb(total, count) for count in range(min(num_better, num_worse) + 1))
    return min(1.0, 2 * tail / 2**total)


def _difference(value: float, interval: Interval, differences: Sequence[float]) -> Difference:
    better, worse = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    return Difference(value, interval, better, worse, sign_test(better, worse))


def problem_differences(run: Mapping[str, float], baseline: Mapping[str, float]) -> list[float]:
    """The run's value minus the baseline's, for each problem.

    Raises:
        ValueError: The two did not answer the same problems.
    """
    if run.keys() != baseline.keys():
        odd = sorted(run.keys() ^ baseline.keys())
        raise ValueError(
            f"not the same problems: {len(run)} here and {len(baseline)} in the baseline, {len(odd)} of them in only one, "
            f"for instance {odd[0]}; evaluate both with the same `--limit` and files"
        )
    return [run[problem] - baseline[problem] for problem in baseline]


def benchmark_difference(differences: Sequence[float]) -> Difference:
    return _difference(sum(differences) / len(differences), difference_interval(differences), differences)


def average_difference(benchmarks: Sequence[Sequence[float]]) -> Difference:
    """The unweighted mean over benchmarks of the mean difference of their problems."""
    means = [sum(differences) / len(differences) for differences in benchmarks]
    interval = combined_interval(means, [difference_interval(differences) for differences in benchmarks])
    together = [difference for differences in benchmarks for difference in differences]
    return _difference(sum(means) / len(means), interval, together)


def read_values(folder: Path, results: Mapping[str, Any], benchmark: str) -> dict[str, dict[str, float | None]]:
    """Reads Pass@1 and Majority@n of every problem from the run's verdicts, by the key of the measure in `results.json`.

    Raises:
        ValueError: The verdicts give another Pass@1 or Majority@n than `results.json` has.
    """
    verdicts, stated = read_verdicts(folder, benchmark), results["benchmarks"][benchmark]
    vote = results["settings"].get("vote") or "classes"
    found: dict[str, dict[str, float | None]] = {
        "pass_at_1": {problem: each.pass_at_1 for problem, each in verdicts.items()},
        "majority_at_n": {problem: each.majority(vote) for problem, each in verdicts.items()},
    }
    for measure, of_problems in found.items():
        values = [value for value in of_problems.values() if value is not None]
        if len(values) < len(of_problems):
            continue  # without a vote
        mean = sum(values) / max(1, len(values))
        if stated.get(measure) is None or abs(mean - stated[measure]) > 1e-9:
            raise ValueError(
                f"verdicts/ of {folder} has a {MEASURES[measure]} of {mean:.4f}, and results.json {stated.get(measure)}: "
                "they are not of one evaluation; run `circuitseer evaluate` with the run's settings again, which keeps its "
                "samples"
            )
    return found


def check_same_file(run: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    """Raises if two results are of other contents of a benchmark. Results of version 0.1.0 do not say it."""
    checksums = [each["benchmark_checksum"] for each in (run, baseline) if each.get("benchmark_checksum")]
    if len(set(checksums)) > 1:
        raise ValueError(
            f"not the same questions and references: the benchmark's checksum is {checksums[0][:8]}... here and "
            f"{checksums[1][:8]}... in the baseline; evaluate both with the same file"
        )


def compare_runs(
    folder: Path, results: Mapping[str, Any], baseline_folder: Path, baseline: Mapping[str, Any]
) -> PairedComparison:
    """Compares the evaluation in `folder` with a baseline. `results` and `baseline` are the contents of `results.json`."""
    found: dict[str, Difference | str] = {}
    differences, voted = [], dict[str, list[float]]()
    num_with_one_vote = 0
    for name in dict.fromkeys([*baseline["benchmarks"], *results["benchmarks"]]):
        if name not in results["benchmarks"] or name not in baseline["benchmarks"]:
            found[name] = f"only {'the baseline' if name in baseline['benchmarks'] else 'this run'} has it"
            continue
        try:
            check_same_file(results["benchmarks"][name], baseline["benchmarks"][name])
            ours, theirs = read_values(folder, results, name), read_values(baseline_folder, baseline, name)
            each = problem_differences(_known(ours["pass_at_1"]), _known(theirs["pass_at_1"]))
        except (FileNotFoundError, ValueError) as error:
            found[name] = str(error)
            continue
        found[name] = benchmark_difference(each)
        differences.append(each)
        votes = [_known(values["majority_at_n"]) for values in (ours, theirs)]
        if all(len(vote) == len(each) for vote in votes):
            voted[name] = problem_differences(*votes)
        num_with_one_vote += sum(map(bool, votes)) == 1
    average: Difference | str | None = None
    if len(found) > 1:
        missing = [name for name, each in found.items() if isinstance(each, str)]
        average = f"no difference of {', '.join(missing)}" if missing else average_difference(differences)
    whole = isinstance(average, Difference) and len(voted) > 1 and not num_with_one_vote
    return PairedComparison(
        found,
        average,
        _other_settings(results["settings"], baseline["settings"]),
        {name: benchmark_difference(each) for name, each in voted.items()},
        average_difference(list(voted.values())) if whole else None,
    )


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {problem: value for problem, value in values.items() if value is not None}


def _other_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (name, theirs.get(name), ours.get(name))
        for name in dict.fromkeys([*theirs, *ours])
        if name not in WHAT_AND_WHERE and theirs.get(name) != ours.get(name)
    ]
