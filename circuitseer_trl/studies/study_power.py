"""What can a study show, before it runs? The smallest difference that its seeds and problems detect, from stated variances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.crossed_intervals import detectable_difference
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.result_files import read_results
from circuitseer_trl.studies.study_file import Study
from circuitseer_trl.studies.study_plan import read_keys
from circuitseer_trl.studies.study_results import compared, problem_values

MIN_SEEDS = 3  # of finished points; the deviation of two seeds says next to nothing


@dataclass(frozen=True)
class Variances:
    """How the difference of Pass@1 between two methods varies.

    Attributes:
        of_seeds: Variance between seeds of the difference over all problems.
        of_problems: Variance of the difference between problems, for the mean over seeds.
        source: Where they are from, for a sentence.
    """

    of_seeds: float
    of_problems: float
    source: str


# Of a pilot with the demo's model, 200 rows and 3 epochs: Pass@1 of four runs with other seeds of draw and training has a
# standard deviation of 0.021, of which pairing leaves three quarters; the difference of two runs varies by 0.33 on a problem.
PILOT = Variances(
    of_seeds=2 * (0.75 * 0.021) ** 2,
    of_problems=0.33**2,
    source="a pilot with a small model: four runs, whose Pass@1 varies between seeds by 2.1 points (standard deviation). "
    "Other models and pools may vary more",
)


def smallest_difference(variances: Variances, num_seeds: int, nums_problems: Sequence[int]) -> float | None:
    """The smallest true difference of a method to the baseline that is found with 80% power; None for a single seed.

    The degrees of freedom are Satterthwaite's, as those of `crossed_mean`.

    Args:
        num_seeds: Number of paired seeds.
        nums_problems: Number of problems of each benchmark; the difference is the mean over benchmarks.
    """
    if num_seeds < 2:
        return None
    terms = [(variances.of_seeds / num_seeds, num_seeds - 1)]
    terms += [(variances.of_problems / number / len(nums_problems) ** 2, number - 1) for number in nums_problems]
    total = sum(term for term, _ in terms)
    if total == 0:
        return 0.0
    degrees = total**2 / sum(term**2 / freedom for term, freedom in terms)
    return detectable_difference(sqrt(total), degrees)


def variances_of(differences: Sequence[Mapping[str, Any]], nums_problems: Sequence[int]) -> Variances:
    """The mean of the variances of a study's differences; the pilot's, if none has three seeds that vary together.

    The variance of a difference's mean is that between seeds over their number, and a part that the number of seeds does not
    change: that of problems.

    Args:
        differences: Entries of `differences.json`.
        nums_problems: Number of problems of each benchmark.
    """
    found = [
        each
        for each in differences
        if each["measure"] == "pass_at_1"
        and each["num_benchmarks"] == len(nums_problems)
        and len(each["varied"]) == 2  # one kind of seeds, and problems
        and len(set(each["points"])) == len(each["by_seed"]) >= MIN_SEEDS
    ]
    if not found:
        return PILOT
    of_seeds = [float(np.var(each["by_seed"], ddof=1)) for each in found]
    fixed = [
        max(0.0, each["standard_error"] ** 2 - variance / len(each["by_seed"]))
        for each, variance in zip(found, of_seeds, strict=True)
    ]
    scale = sum(1 / number for number in nums_problems) / len(nums_problems) ** 2
    seeds = min(len(each["by_seed"]) for each in found)
    number = f"{len(found)} difference{'s' if len(found) > 1 else ''}"
    source = f"the study's finished points ({number}, with {seeds} or more seeds)"
    return Variances(float(np.mean(of_seeds)), float(np.mean(fixed)) / scale, source)


def power_sentence(study: Study, root: Path, plan: Mapping[str, Any], finished: Sequence[str]) -> str:
    """What the study can show, for its dry run. Reads the benchmarks, and the results of finished points.

    Args:
        root: The study's folder.
        plan: The content of `study.json`.
        finished: Names of the points that are finished.
    """
    config = read_keys(study.eval, "`eval`", EvaluationConfig, model_name_or_path="unused", output_dir="unused")
    numbers = [len(load_benchmark(name, config.benchmarks_dir)[: config.limit]) for name in config.benchmarks]
    numbers = [number for number in numbers if number > 1]  # one problem has no variance, and no interval
    total = f"{sum(numbers)} problem{'s' if sum(numbers) > 1 else ''}"
    num_seeds, seeds = _seeds(study)
    if num_seeds < 2 or not numbers:
        return f"With {seeds} and {total} no difference can be shown that holds for other seeds. Give at least three seeds."
    folders = {point["name"]: root / point["folder"] for point in plan["points"] if point["name"] in finished}
    values = {name: problem_values(folder, read_results(folder)) for name, folder in folders.items()}
    variances = variances_of(compared(plan, values)["differences"], numbers)
    smallest = smallest_difference(variances, num_seeds, numbers)
    assert smallest is not None
    return (
        f"{seeds} and {total} can show a difference of about {100 * smallest:.1f} points of Pass@1 (one method, 80% power). "
        f"Reckoned from {variances.source}. After the run, `detectable` is computed from all of its points."
    )


def _seeds(study: Study) -> tuple[int, str]:
    """The number of independent seeds, and the study's seeds in words. Crossed seeds count as the shorter of the two lists."""
    selecting, training = (len(set(each)) for each in zip(*study.seeds, strict=True))
    if study.joined or 1 in (selecting, training):
        number = max(selecting, training)
        return number, f"{number} seeds" if number > 1 else "one seed"
    number = min(selecting, training)
    return number, f"{selecting} x {training} seeds (reckoned as {number})"
