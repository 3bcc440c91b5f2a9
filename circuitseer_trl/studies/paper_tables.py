"""What did the paper publish? Its tables 1 to 5 as data, and what in them does not add up."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Metric = Literal["pass_at_1", "majority_at_16"]
AVERAGE = "average"
# Problems of each benchmark. A greedy Pass@1 and a Majority@16 are a whole number of problems.
NUM_PROBLEMS = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "olympiadbench": 675,
    "kaoyan": 199,
    "gaokao2023en": 385,
    "gaokao_math_qa": 351,
    "gaokao2024_mix": 91,
}
SAMPLED = ("aime24", "aime25", "amc23")  # their Pass@1 is a mean over 16 samples
ROUNDING = 0.05 + 1e-9  # of a value printed with one decimal


@dataclass(frozen=True)
class Figure:
    """One printed number.

    Attributes:
        table: Number of the table.
        model: The model that is trained.
        method: Name of the method; an ablation of CircuitSeer has the name of its recipe.
        benchmark: Name of the benchmark, or `average`.
        metric: What is measured.
        percent: The value as printed.
        change: The printed difference to random rows, in points; None where no arrow is printed.
    """

    table: int
    model: str
    method: str
    benchmark: str
    metric: Metric
    percent: float
    change: float | None


@dataclass(frozen=True)
class Slip:
    """A printed number that the table's other numbers contradict.

    Attributes:
        figure: The printed number.
        kind: `average`: it is not the mean of the nine Pass@1. `sign`: the arrow points the wrong way. `change`: the
            difference has another size. `impossible`: no whole number of problems gives this share.
        computed: What the other numbers give, in percent or points; for `impossible` the nearest possible share.
    """

    figure: Figure
    kind: Literal["average", "sign", "change", "impossible"]
    computed: float


@cache
def paper_figures() -> tuple[Figure, ...]:
    """All numbers of tables 1 to 5, in the order of the paper."""
    tables = json.loads(Path(__file__).with_name("paper_tables.json").read_text(encoding="utf-8"))
    figures = [
        Figure(1, row["model"], row["method"], benchmark, metric, percent, change)
        for row in tables["table1"]["rows"]
        for (benchmark, metric), percent, change in zip(
            tables["table1"]["columns"], row["values"], row["changes"], strict=True
        )
    ]
    for number in range(2, 6):
        table = tables[f"table{number}"]
        figures += [
            Figure(number, "Qwen2.5-Math-7B-Base", method, row["benchmark"], "pass_at_1", percent, change)
            for row in table["rows"]
            for method, percent, change in zip(table["columns"], row["values"], row["changes"], strict=True)
        ]
    return tuple(figures)


def _slips(figure: Figure, printed: dict[tuple[int, str, str, str, Metric], Figure]) -> Iterator[Slip]:
    if figure.benchmark == AVERAGE:
        values = [
            printed[figure.table, figure.model, figure.method, benchmark, "pass_at_1"].percent
            for benchmark in NUM_PROBLEMS
        ]
        mean = sum(values) / len(values)
        if abs(mean - figure.percent) > ROUNDING:
            yield Slip(figure, "average", mean)
    else:
        num_problems = NUM_PROBLEMS[figure.benchmark]
        whole = figure.metric == "majority_at_16" or figure.benchmark not in SAMPLED
        nearest = round(figure.percent / 100 * num_problems) / num_problems * 100
        if whole and abs(nearest - figure.percent) > ROUNDING:
            yield Slip(figure, "impossible", nearest)
    if figure.change is not None:
        random = printed[figure.table, figure.model, "random", figure.benchmark, figure.metric]
        change = figure.percent - random.percent
        if abs(abs(change) - abs(figure.change)) > ROUNDING:
            yield Slip(figure, "change", change)
        elif change * figure.change < 0:
            yield Slip(figure, "sign", change)


def paper_slips() -> list[Slip]:
    """The printed numbers that do not add up, in the order of the paper.

    Averages and differences are computed from the printed cells, which are rounded themselves: an average that is off by
    less than 0.1 points may be right for the unrounded cells.
    """
    printed = {(each.table, each.model, each.method, each.benchmark, each.metric): each for each in paper_figures()}
    return [slip for figure in paper_figures() for slip in _slips(figure, printed)]
