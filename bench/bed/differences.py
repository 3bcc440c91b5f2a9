"""What do the rows of the bed show? Paired differences between methods, tested as `hypotheses.yaml` has declared."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from circuitseer_trl.evaluation.crossed_intervals import detectable_difference, holm
from circuitseer_trl.yaml_files import read_yaml

HYPOTHESES = Path(__file__).parent / "hypotheses.yaml"
SIGNIFICANT = 0.05

Row = Mapping[str, Any]
# How a row is read, and whether more is better.
MEASURES: Mapping[str, tuple[Callable[[Row], float], bool]] = {
    "exact": (lambda row: row["exact"], True),
    "log_loss": (lambda row: math.log(row["loss"]), False),
}


@dataclass(frozen=True)
class Difference:
    """A method against another one, over paired replicates.

    Attributes:
        method, against: Names of the two.
        measure: `exact` or `log_loss`.
        num: Number of replicates that both have.
        mean: Mean of the method minus the other.
        interval: Its t interval, 95%; None below two replicates, or where nothing varies.
        p: Of the two-sided paired t test.
        p_holm: Adjusted over the comparisons of the family; None outside a family.
    """

    method: str
    against: str
    measure: str
    num: int
    mean: float
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None = None

    @property
    def favours(self) -> bool:
        """Whether the difference is in the method's favour, adjusted p below 5%."""
        return self._is_shown and (self.mean > 0) == MEASURES[self.measure][1]

    @property
    def opposes(self) -> bool:
        """Whether the method is worse, adjusted p below 5%."""
        return self._is_shown and not self.favours

    @property
    def _is_shown(self) -> bool:
        p = self.p if self.p_holm is None else self.p_holm
        return p is not None and p < SIGNIFICANT


def paired_difference(rows: Iterable[Row], method: str, against: str, measure: str) -> Difference:
    """The difference of two methods over the replicates that both have finished.

    Args:
        rows: Rows of one base model, kind of pool and budget.
    """
    value, _ = MEASURES[measure]
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row["status"] == "ok" and row["method"] in (method, against):
            found[row["method"]][row["replicate"]] = value(row)
    both = sorted(found[method].keys() & found[against].keys())
    values = np.array([found[method][number] - found[against][number] for number in both])
    if len(both) < 2 or np.ptp(values) == 0:
        return Difference(method, against, measure, len(both), float(values.mean()) if both else math.nan, None, None)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(both))
    half = float(stats.t.ppf(0.975, len(both) - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, len(both) - 1))
    return Difference(method, against, measure, len(both), mean, (mean - half, mean + half), p)


@dataclass(frozen=True)
class Family:
    """Comparisons that were declared together, and are adjusted together.

    Attributes:
        name: Name of the family.
        says: The hypothesis as a sentence.
        plan: The plan whose rows test it.
        where: Base model and kind of pool that the rows must have, such as `{"kind": "noisy"}`; empty for all rows.
        method, against: What is compared.
        standard_deviation: Of the paired differences in the pilot, by measure and method; empty if there was none.
        num_replicates: As the plan says.
        explored: Whether it only explores: no claim rests on it.
        differences: For each measure and method of `against`.
    """

    name: str
    says: str
    plan: str
    where: Mapping[str, str]
    method: str
    against: Sequence[str]
    standard_deviation: Mapping[str, Mapping[str, float]]
    num_replicates: int
    explored: bool = False
    differences: Sequence[Difference] = field(default=())

    def of(self, against: str) -> list[Difference]:
        return [each for each in self.differences if each.against == against]

    @property
    def num(self) -> int:
        """Number of replicates so far."""
        return min((each.num for each in self.differences), default=0)

    @property
    def is_whole(self) -> bool:
        """Whether all declared replicates are there. Before, there is nothing to claim."""
        return self.num == self.num_replicates

    @property
    def beaten(self) -> list[str]:
        """The methods that are beaten on every measure."""
        return [name for name in self.against if all(each.favours for each in self.of(name))]

    def detectable(self, against: str, measure: str) -> float | None:
        """The true difference that the declared replicates find with 80% power (5%, before Holm), by the pilot's deviation."""
        deviation = self.standard_deviation.get(measure, {}).get(against)
        if deviation is None:
            return None
        return detectable_difference(deviation / math.sqrt(self.num_replicates), self.num_replicates - 1)


def read_families(
    rows: Mapping[str, Sequence[Row]], num_replicates: Mapping[str, int], path: Path = HYPOTHESES
) -> list[Family]:
    """Reads the declared hypotheses, and tests each on the rows of its plan.

    Args:
        rows: The rows of each plan.
        num_replicates: The number of replicates of each plan.
    """
    families = []
    for entry in read_yaml(path)["families"]:
        own = rows.get(entry["plan"], ())
        values = sorted({row[entry["each"]] for row in own}) if "each" in entry else [None]
        for value in values:
            where = {entry["each"]: value} if value is not None else {}
            family = Family(
                entry["name"] if value is None else f"{entry['name']}: {value}",
                entry["says"],
                entry["plan"],
                where,
                entry["method"],
                entry["against"],
                entry.get("standard_deviation", {}),
                num_replicates[entry["plan"]],
                entry.get("explored", False),
            )
            families.append(with_differences(family, own))
    return families


def with_differences(family: Family, rows: Sequence[Row]) -> Family:
    """The family with its differences, adjusted over all of them."""
    own = [row for row in rows if all(row[key] == value for key, value in family.where.items())]
    found = [paired_difference(own, family.method, name, measure) for name in family.against for measure in MEASURES]
    return replace(family, differences=holm_differences(found))


def holm_differences(found: Sequence[Difference]) -> list[Difference]:
    """The differences with p values that are adjusted over all that have one."""
    adjusted = iter(holm([each.p for each in found if each.p is not None]))
    return [replace(each, p_holm=None if each.p is None else next(adjusted)) for each in found]


def holm_together(families: Sequence[Family]) -> list[Family]:
    """The families with p values that are adjusted over the tests of all of them."""
    adjusted = iter(holm_differences([each for family in families for each in family.differences]))
    return [replace(family, differences=[next(adjusted) for _ in family.differences]) for family in families]
