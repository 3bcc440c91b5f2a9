"""Which signals help? All methods of the plan `grid` against random rows, at equal rows and at equal tokens. Explored alone."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.bed.choosing import selection_config
from bench.bed.differences import MEASURES, SIGNIFICANT, Difference, Row, holm_differences, paired_difference
from bench.bed.plan import ROOT, Plan, budget_name
from bench.bed.wording import SHOWN, difference_text
from circuitseer_trl.drawing.exhibits import DotPlot, DotRow, Number, Table
from circuitseer_trl.scoring.length import LengthScorer
from circuitseer_trl.selection.parts import make_parts

NEEDS = {"text": "text", "model": "forward", "losses": "forward", "gradients": "gradients", "heads": "forward"}
RHO = {
    "steps": "steps",
    "steps_given_problem_length": "given problem length",
    "steps_given_solution_length": "given solution length",
}
# A kind of pool and a budget: all that is compared there is adjusted together.
Place = tuple[str, str]


def needed(method: Mapping[str, Any]) -> str:
    """What the scores of a method are computed from."""
    if "truth" in method:
        return "the truth"
    config = selection_config(method, "any", 0, Path("any"))
    parts = make_parts(config)
    found = (
        ["text"] if isinstance(parts.scorer, LengthScorer) else [NEEDS[parts.scorer.needs]]
    )  # a length needs a tokenizer
    if parts.method == "dependence":
        found.append("ablated forward")
    if parts.scorer.needs == "heads" and config.head_set == "detected":
        found.append("sweep")
    if config.noise_filter_ratio is not None and "forward" not in found:
        found.append("forward")
    return " + ".join(found)


def costs(readme: Path = ROOT / "README.md") -> dict[str, str]:
    """CPU-seconds for 1,000 rows of GSM8K with SmolLM2 by the library's name of a method, as the README's table has them."""
    lines = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+)[^|`]*\| ([\d,]+) \| [\d.]+ \|", readme.read_text(encoding="utf-8"), re.M
    )
    return {name: seconds for names, seconds in lines for name in re.findall(r"`(\w+)`", names)}


class Grid:
    """The plan's rows, and the differences of its methods from random rows.

    Attributes:
        differences: By kind of pool and budget: for each method and measure, adjusted by Holm over all of them.
    """

    def __init__(self, plan: Plan, rows: Sequence[Row]):
        self.plan, self.rows = plan, rows
        self.methods = {str(each["name"]): each for each in plan.methods if each["name"] != "random"}
        self.places = [(kind, budget_name(budget)) for kind in plan.kinds for budget in plan.budgets]
        self.differences = {place: self._differences(place) for place in self.places}

    def _differences(self, place: Place) -> dict[tuple[str, str], Difference]:
        own = [row for row in self.rows if (row["kind"], row["budget"]) == place]
        found = [paired_difference(own, name, "random", measure) for name in self.methods for measure in MEASURES]
        return {(each.method, each.measure): each for each in holm_differences(found)}

    @property
    def num(self) -> int:
        """Number of replicates that are whole."""
        return min(each.num for place in self.differences.values() for each in place.values())

    @property
    def is_whole(self) -> bool:
        return self.num == self.plan.num_replicates

    @property
    def state(self) -> str:
        """How much of the plan is done, as a sentence."""
        total = self.plan.num_replicates
        if self.is_whole:
            return f"{total} replicates. Explored, not confirmed: what they suggest needs fresh replicates."
        return f"Unfinished: {self.num} of {total} replicates, nothing is claimed."

    def tables(self) -> list[Table]:
        return [self.signals(), *(self.effects(measure) for measure in MEASURES)]

    def signals(self) -> Table:
        """What a method needs, and what its scores follow."""
        known = costs()
        heading = ["method", "needs", "CPU-seconds for 1,000 rows"]
        heading += [f"{kind}: rho({name})" for kind in self.plan.kinds for name in RHO.values()]
        lines = []
        for name, method in self.methods.items():
            cost = "" if "noise_filter_ratio" in method else known.get(str(method.get("method")), "")
            line: list[str | Number] = [name, needed(method), Number(None, cost)]
            for kind in self.plan.kinds:
                own = [
                    row["rho"] for row in self.rows if (row["method"], row["kind"]) == (name, kind) and row.get("rho")
                ]
                for key in RHO:
                    values = [each[key] for each in own if each[key] is not None]
                    line.append(
                        Number(float(np.mean(values)), f"{np.mean(values):+.2f}") if values else Number(None, "")
                    )
            lines.append(line)
        note = (
            f"{self.state} Needs beside the text: a forward pass of each row, one with ablated heads, a head sweep of the "
            "probe. Costs are the README's, of SmolLM2 on GSM8K, without the sweep and without a filter. rho: rank correlation "
            "of the scores with the true number of steps over the pool, then the partial ones."
        )
        return Table("grid-signals", "Grid: the signals", heading, lines, note)

    def effects(self, measure: str) -> Table:
        """Differences from random rows in a measure."""
        title, unit, _, _ = SHOWN[measure]
        heading = ["method", *(f"{kind}, {budget}" for kind, budget in self.places)]
        lines = []
        for name in self.methods:
            line: list[str | Number] = [name]
            for place in self.places:
                each = self.differences[place][name, measure]
                adjusted = each.p_holm is not None and each.p_holm < SIGNIFICANT
                shown = difference_text(each) if each.num else ""
                line.append(Number(each.mean if each.num else None, shown, strong=adjusted and self.is_whole))
            lines.append(line)
        better = "higher" if MEASURES[measure][1] else "lower"
        note = (
            f"{self.state} Method minus random rows{', ' + unit if unit else ''}; {better} is better; 95% intervals over paired "
            f"replicates. Bold: adjusted p below 5%, in either direction. Holm over {2 * len(self.methods)} tests, of all "
            "methods and both measures, in each column."
        )
        return Table(f"grid-{measure}", f"Grid: difference from random rows in {title}", heading, lines, note)

    def figure(self, measure: str) -> DotPlot:
        """The differences at equal tokens, the best first."""
        title, unit, scale, _ = SHOWN[measure]
        upwards = MEASURES[measure][1]
        groups = []
        for place in self.places:
            if not place[1].startswith("tokens"):
                continue
            known = [self.differences[place][name, measure] for name in self.methods]
            known = sorted(
                (each for each in known if each.interval is not None), key=lambda each: each.mean, reverse=upwards
            )
            lines = [
                DotRow(each.method, each.mean * scale, _scaled(each, scale), text=difference_text(each))
                for each in known
            ]
            groups.append((f"pools: {place[0]}", lines))
        return DotPlot(
            f"evidence-grid-{measure}",
            f"{title.capitalize()} minus that of random rows, equal tokens, {self.num} of {self.plan.num_replicates} replicates",
            groups,
            note=f"{self.state} 95% intervals; {'higher' if upwards else 'lower'} is better.",
            unit=unit,
            signed=True,
        )


def _scaled(each: Difference, scale: float) -> tuple[float, float] | None:
    return None if each.interval is None else (each.interval[0] * scale, each.interval[1] * scale)
