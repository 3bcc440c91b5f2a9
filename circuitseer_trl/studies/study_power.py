"""What can a study show, before it runs? The smallest difference that its seeds and problems detect, from stated variances."""

from collections.abc import Sequence
from math import sqrt

from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.crossed_intervals import detectable_difference
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.studies.study_file import Study
from circuitseer_trl.studies.study_plan import read_keys

# Of a pilot with the demo's model, 200 rows and 3 epochs (74 trainings): the standard deviation of Pass@1 between seeds of draw
# and training, that of the difference of two runs on one problem, and the part of a difference's deviation that pairing leaves.
SD_OF_SEEDS, SD_ON_A_PROBLEM, LEFT_BY_PAIRING = 0.021, 0.33, 0.75


def smallest_difference(num_seeds: int, nums_problems: Sequence[int]) -> float | None:
    """The smallest true difference of a method to the baseline that is found with 80% power; None for a single seed.

    Args:
        num_seeds: Number of paired seeds.
        nums_problems: Number of problems of each benchmark; the difference is the mean over benchmarks.
    """
    if num_seeds < 2:
        return None
    by_seeds = 2 * (LEFT_BY_PAIRING * SD_OF_SEEDS) ** 2 / num_seeds
    by_problems = sum(SD_ON_A_PROBLEM**2 / number for number in nums_problems) / len(nums_problems) ** 2
    return detectable_difference(sqrt(by_seeds + by_problems), num_seeds - 1)


def power_sentence(study: Study) -> str:
    """What the study can show, for its dry run. Reads the benchmarks."""
    config = read_keys(study.eval, "`eval`", EvaluationConfig, model_name_or_path="unused", output_dir="unused")
    numbers = [len(load_benchmark(name, config.benchmarks_dir)[: config.limit]) for name in config.benchmarks]
    total = f"{sum(numbers)} problem{'s' if sum(numbers) > 1 else ''}"
    smallest = smallest_difference(len(study.seeds), numbers)
    if smallest is None:
        return f"With one seed and {total} no difference can be shown that holds for other seeds. Give at least three seeds."
    return (
        f"{len(study.seeds)} seeds and {total} can show a difference of about {100 * smallest:.1f} points of Pass@1 (one method, "
        f"80% power). Reckoned from a pilot with a small model, whose Pass@1 varies between seeds by "
        f"{100 * SD_OF_SEEDS:.1f} points (standard deviation). Other models and pools may vary more; "
        "`detectable` is computed from the study's own runs."
    )
