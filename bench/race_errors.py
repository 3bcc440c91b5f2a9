"""How often is a race wrong, and what does it save? Races over simulated loss increases, in many settings.

`python -m bench.race_errors` runs every setting 500 times (minutes on one core) and prints a table. A setting is the shape of
the increases and what the reaches of the heads are worth. The limits hold in all but the settings `silent`, where a head's
reach says nothing of the examples that decide: the stated error is under the condition that they hold, and these show what
happens without it.
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.bounds import weighted_order
from circuitseer_trl.circuits.race import ERROR, draw_weights, race, reach_limits

# N probe examples, K heads
RUNS = 500


@dataclass(frozen=True)
class Setting:
    """Simulated increases, and what is known of them beforehand.

    Attributes:
        shape: `dense`, `heavy` (tails), `ties` (equal means at the border), `sparse` (examples that decide, of each wanted
            head its own), or `shared` (the same for all wanted heads).
        reach: `perfect` (as large as the change), `good` (1 to 3 times), `real` (as loose as on SmolLM2), `flat` (the
            same for all: it is not correlated), `misleading` (largest where the change is smallest), or `silent`.
        ratio: Share of heads that are wanted.
        share: Share of the examples that carry the importance of the wanted heads, for sparse shapes.
    """

    shape: str
    reach: str
    num_examples: int
    num_heads: int
    ratio: float
    share: float = 1.0

    @property
    def size(self) -> int:
        return max(1, math.floor(self.ratio * self.num_heads + 0.5))


SHAPES = [
    ("dense", 1.0),
    ("heavy", 1.0),
    ("ties", 1.0),
    *[(kind, s) for s in (0.01, 0.02, 0.05) for kind in ("sparse", "shared")],
]
SIZES = [
    (50, 24, 0.05),
    (100, 96, 0.05),
    (300, 96, 0.03),
    (100, 270, 0.05),
    (300, 270, 0.05),
    (100, 576, 0.01),
    (1000, 96, 0.05),
]
REACHES = ["perfect", "good", "real", "flat", "misleading"]


def settings() -> list[Setting]:
    """Every shape with every kind of reach, in sizes that take turns; and each shape that may be silent."""
    pairs = [(shape, share, reach) for shape, share in SHAPES for reach in REACHES]
    pairs += [(shape, share, "silent") for shape, share in SHAPES if share < 1]
    return [
        Setting(shape, reach, *SIZES[index % len(SIZES)], share) for index, (shape, share, reach) in enumerate(pairs)
    ]


def simulated(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws loss increases and reaches, both of shape `(N, K)`.

    The heads that are not wanted are as those of SmolLM2: most are weak, a third lowers the loss a little.
    """
    size, heads, examples = setting.size, setting.num_heads, setting.num_examples
    means = np.where(rng.random(heads) < 0.3, -0.01, 0.02) * rng.lognormal(0, 0.7, heads)
    border = max(0.05, 1.1 * means[size:].max(initial=0))
    means[:size] = border * rng.uniform(1, 6, size)
    if setting.shape == "ties":
        means[: 2 * size] = border
    hardness = rng.gamma(4, 0.25, (examples, 1))
    noise = rng.standard_t(2.5 if setting.shape == "heavy" else 8, (examples, heads))
    plain = means * hardness + (0.01 + 0.3 * np.abs(means)) * noise
    increases = plain.copy()
    decisive = np.zeros((examples, heads), dtype=bool)
    if setting.share < 1:  # all of the importance is on few examples; on the others the wanted heads look like nothing
        count = math.ceil(setting.share * examples)
        places = rng.random((examples, size)).argsort(axis=0)[:count]
        decisive[places[:, :1] if setting.shape == "shared" else places, np.arange(size)] = True
        increases[:, :size] = 0.005 * noise[:, :size]
        increases[decisive] = (means * examples / count * np.ones_like(plain))[decisive]
    change = np.abs(increases)
    if setting.reach in ("perfect", "good"):
        loose = 1.01 if setting.reach == "perfect" else rng.uniform(1, 3, change.shape)
        return increases, 2.0 * change * loose  # a loss may fall by half of the reach
    if setting.reach == "flat":
        return increases, np.full_like(change, 2 * change.max())
    level = (
        rng.lognormal(0, 0.3, (examples, 1)) * rng.lognormal(0, 0.6, (1, heads)) * rng.lognormal(0, 0.3, change.shape)
    )
    if setting.reach == "silent":
        return increases, np.maximum(level * 0.1, np.where(decisive, 0, 2 * change))
    if setting.reach == "misleading":
        level = np.take_along_axis(np.sort(level, axis=0), (-change).argsort(axis=0).argsort(axis=0), axis=0)
    return increases, np.maximum(level, 2 * change)


@dataclass(frozen=True)
class Outcome:
    """One race against the evaluation of everything."""

    wrong: bool
    beyond: bool
    cost: float


def one_race(setting: Setting, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    increases, reach = simulated(setting, rng)
    weights = draw_weights(reach)
    order = weighted_order(weights, rng)
    increases, limits = increases[order], reach_limits(reach[order], np.full(len(order), np.inf), weights[order], 0.0)
    found = race(lambda _, part, heads: increases[part.start : part.stop, heads], limits, setting.size)
    means = increases.mean(axis=0)
    border = np.sort(means)[-setting.size]
    cost = sum(len(step.examples) * len(step.heads) for step in found.rounds) / increases.size
    return Outcome(bool((means[found.selected] < border - 1e-9).any()), found.beyond > 0, cost)


def most_errors(runs: int, error: float = ERROR) -> int:
    """The number of errors that so many runs exceed in one of 1,000 cases, if each has the probability `error`."""
    chances = [math.comb(runs, n) * error**n * (1 - error) ** (runs - n) for n in range(runs + 1)]
    return int(np.searchsorted(np.cumsum(chances), 0.999))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    print(f"At most {most_errors(options.runs)} of {options.runs} may be wrong for a stated error of {ERROR:.0%}.")
    print(
        f"{'shape':8}{'share':>6}{'reach':>12}{'N':>6}{'heads':>6}{'wanted':>7}{'wrong':>7}{'beyond':>8}{'saving':>8}"
    )
    for setting in settings():
        done = [one_race(setting, seed) for seed in range(options.runs)]
        wrong, beyond = sum(each.wrong for each in done), sum(each.beyond for each in done)
        saving = 1 / np.mean([each.cost for each in done])
        print(
            f"{setting.shape:8}{setting.share:6.0%}{setting.reach:>12}{setting.num_examples:6}{setting.num_heads:6}"
            f"{setting.size:7}{wrong:7}{beyond:8}{saving:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
