"""How often does an interval cover the truth? Intervals over seeds and problems, and over problems alone, in simulated studies.

`python -m bench.coverage` prints the table of docs/studies.md (a minute on one core).
"""

from collections.abc import Sequence

import numpy as np

from circuitseer_trl.evaluation.crossed_intervals import crossed_mean

# Standard deviations of differences: between seeds, between problems, and of what is left for a seed and a problem
SETTINGS = [(0.0, 0.3, 0.5), (0.01, 0.3, 0.5), (0.03, 0.3, 0.5), (0.06, 0.3, 0.5)]
NUMS_SEEDS, NUM_PROBLEMS, RUNS = (3, 5, 12), 300, 4000


def coverage(
    num_seeds: int, deviations: tuple[float, float, float], num_problems: int, runs: int, seed: int
) -> tuple[float, float]:
    """Shares of 95% intervals that have the true difference, 0, in them: over seeds and problems, and over problems alone.

    The interval over problems alone is of each problem's mean over the seeds, as if other seeds gave the same.
    """
    rng = np.random.default_rng(seed)
    of_seeds, of_problems, rest = deviations
    hits = np.zeros(2)
    for _ in range(runs):
        values = of_seeds * rng.normal(size=(num_seeds, 1, 1)) + of_problems * rng.normal(size=(1, 1, num_problems))
        values = values + rest * rng.normal(size=(num_seeds, 1, num_problems))
        for place, each in enumerate((values, values.mean(axis=0, keepdims=True))):
            low, high = crossed_mean([each]).interval
            hits[place] += low <= 0 <= high
    both, problems = (hits / runs).tolist()
    return both, problems


def table(settings: Sequence[tuple[float, float, float]] = SETTINGS, runs: int = RUNS) -> str:
    """The table, in Markdown."""
    lines = ["| sd between seeds, points | " + " | ".join(f"{number} seeds" for number in NUMS_SEEDS) + " |"]
    lines.append("|---" * (1 + len(NUMS_SEEDS)) + "|")
    for deviations in settings:
        found = [coverage(number, deviations, NUM_PROBLEMS, runs, seed=3) for number in NUMS_SEEDS]
        cells = [f"{100 * both:.1f}% ({100 * problems:.1f}%)" for both, problems in found]
        lines.append(f"| {100 * deviations[0]:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
