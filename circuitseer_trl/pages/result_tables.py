"""How are results and differences of runs shown? As cells, rows and sentences, for the terminal and for the page."""

from collections.abc import Iterable, Mapping
from typing import Any

from circuitseer_trl.drawing.exhibits import Cell, Number
from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.evaluation.paired import Difference, PairedComparison
from circuitseer_trl.evaluation.run_folders import Runs


def percent(value: float | None, interval: Iterable[float] | None = None) -> str:
    if value is None:
        return "-"
    spread = " [{:.1f}, {:.1f}]".format(*(100 * end for end in interval)) if interval else ""
    return f"{100 * value:.1f}{spread}"


def points(value: float) -> str:
    """A difference in percentage points."""
    return f"{100 * value:+.1f}"


def points_interval(interval: Iterable[float]) -> str:
    return "[{}, {}]".format(*map(points, interval))


def probability(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def columns_of(runs: Runs) -> list[tuple[str, str, str]]:
    """Lists (heading, benchmark, key of the value) of all values that a run has; the benchmark of an average is empty.

    There is no column for the average if no run has more than one benchmark.
    """
    columns = []
    for name in dict.fromkeys(name for run in runs.values() for name in run["benchmarks"]):
        sizes = {run["benchmarks"][name]["num_samples"] for run in runs.values() if name in run["benchmarks"]} - {0}
        columns.append((f"{name} Pass@1", name, "pass_at_1"))
        if sizes:
            columns.append((f"{name} Maj@{'/'.join(map(str, sorted(sizes)))}", name, "majority_at_n"))
    if any(len(run["benchmarks"]) > 1 for run in runs.values()):
        columns.append(("Average Pass@1", "", "pass_at_1"))
        if any(run["average"]["majority_at_n"] is not None for run in runs.values()):
            columns.append(("Average Maj@n", "", "majority_at_n"))
    return columns


def cells_of(run: dict[str, Any], runs: Runs, columns: Iterable[tuple[str, str, str]]) -> list[str]:
    """Formats a run's values. An average shows over how many benchmarks it is, if these are not the same for all averages."""
    alike = len({tuple(sorted(each["benchmarks"])) for each in runs.values()}) == 1
    cells = []
    for _, name, key in columns:
        values = run["benchmarks"].get(name, {}) if name else run["average"]
        text = percent(values.get(key), values.get(f"{key}_interval"))
        total, measured = len(run["benchmarks"]), num_measured(run, key)
        if not name and text != "-" and not (alike and measured == total):
            text += f" over {measured} of {total} benchmarks" if measured < total else f" over {total} benchmarks"
        cells.append(text)
    return cells


def num_measured(run: dict[str, Any], key: str) -> int:
    """Number of a run's benchmarks that have a value: a benchmark with greedy answers alone has no majority."""
    return sum(values.get(key) is not None for values in run["benchmarks"].values())


def results_rows(runs: Runs) -> list[list[str]]:
    """The rows of the table of results, heading first. The longer side of the table is vertical."""
    columns = columns_of(runs)
    turned = len(columns) > len(runs)
    rows = [["" if turned else "run", *(name for name, _, _ in columns)]]
    rows += [[name, *cells_of(run, runs, columns)] for name, run in runs.items()]
    return [list(column) for column in zip(*rows, strict=True)] if turned else rows


def results_table(runs: Runs) -> str:
    """The table of runs, benchmarks and their average, in percent with 95% intervals over problems."""
    heading, *rows = results_rows(runs)
    return text_table(heading, rows)


DIFFERENCE_HEADING = ["run", "benchmark", "measure", "difference", "95% interval", "better", "worse", "p"]


def difference_rows(comparisons: Mapping[str, PairedComparison]) -> list[list[Cell]]:
    """One row under `DIFFERENCE_HEADING` for each run, benchmark and measure that has a difference."""
    rows: list[list[Cell]] = []
    for name, comparison in comparisons.items():
        of_all, of_voted = len(comparison.benchmarks), len(comparison.majority)
        average = "average" if of_voted == of_all else f"average over {of_voted} of {of_all} benchmarks"
        measures: dict[str, dict[str, Difference | str | None]] = {
            "Pass@1": {**comparison.benchmarks, "average": comparison.average},
            "Maj@n": {**comparison.majority, average: comparison.majority_average},
        }
        for measure, differences in measures.items():
            for benchmark, found in differences.items():
                if isinstance(found, Difference):
                    counts = [Number(each, str(each)) for each in (found.num_better, found.num_worse)]
                    numbers: list[Cell] = [
                        Number(found.value, points(found.value)),
                        points_interval(found.interval),
                        *counts,
                    ]
                    rows.append([name, benchmark, measure, *numbers, Number(found.p_value, probability(found.p_value))])
    return rows


def not_compared(baseline: str, comparisons: Mapping[str, PairedComparison]) -> list[str]:
    """A sentence for each difference that is missing, and for each run with other settings."""
    sentences = []
    for name, comparison in comparisons.items():
        for benchmark, found in {**comparison.benchmarks, "average": comparison.average}.items():
            if isinstance(found, str):
                sentences.append(f"{name} is not compared with {baseline} on {benchmark}: {found}.")
        if comparison.settings:
            changes = "; ".join(f"{key} {theirs!r}, here {ours!r}" for key, theirs, ours in comparison.settings)
            sentences.append(f"{name} was measured with other settings than {baseline}: {changes}.")
    return sentences


def differences_text(baseline: str, comparisons: Mapping[str, PairedComparison]) -> str:
    """Formats the differences for a terminal; empty if there is only one run."""
    rows, sentences = difference_rows(comparisons), not_compared(baseline, comparisons)
    parts = []
    if rows:
        parts = [
            f"Difference to {baseline} on the same problems, in percentage points (better, worse: numbers of problems; "
            "p: sign test on them)",
            text_table(DIFFERENCE_HEADING, rows),
        ]
    return "\n".join([*parts, *sentences])
