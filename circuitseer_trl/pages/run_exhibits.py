"""Which tables and figures do evaluated runs have? Results, differences, answers, and times."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_card
from circuitseer_trl.drawing.exhibits import Cell, DotPlot, DotRow, Exhibit, Number, Table
from circuitseer_trl.evaluation.paired import Difference, PairedComparison
from circuitseer_trl.evaluation.run_folders import Runs
from circuitseer_trl.pages.contamination_table import contamination_tables
from circuitseer_trl.pages.result_tables import (
    DIFFERENCE_HEADING,
    cells_of,
    columns_of,
    difference_rows,
    percent,
    points,
    points_interval,
    probability,
)

STEPS = ("select", "train", "evaluate")
SETTINGS = (
    *("backend", "preset", "temperature", "top_p", "repetition_penalty", "max_new_tokens", "vote", "prompt_template"),
    *("dtype", "seed", "limit"),
)


def run_exhibits(
    runs: Runs, folders: Mapping[str, Path], baseline: str, comparisons: Mapping[str, PairedComparison]
) -> list[Exhibit]:
    """All of them, in the order of the page.

    Args:
        runs: Content of results.json, by the run's name.
        folders: The runs' folders, which may also have `steps.json` of `circuitseer reproduce`.
        baseline: Name of the run that the others are compared with.
        comparisons: The comparisons of the other runs with the baseline, by their names.
    """
    results: list[Exhibit] = [results_plot(runs), results_table(runs)]
    return [
        *results,
        *difference_exhibits(baseline, comparisons, list(runs)),
        *contamination_tables(runs),
        answers_table(runs),
        *pass_at_k_tables(runs),
        times_table(runs, folders),
        settings_table(runs),
    ]


def results_plot(runs: Runs) -> DotPlot:
    names = list(dict.fromkeys(name for run in runs.values() for name in run["benchmarks"]))
    groups = {name: {run: values["benchmarks"].get(name) for run, values in runs.items()} for name in names}
    if len({tuple(sorted(run["benchmarks"])) for run in runs.values()}) == 1 and len(names) > 1:
        groups[f"average of {len(names)}"] = {run: values["average"] for run, values in runs.items()}
    rows = {
        group: [
            _row(run, values["pass_at_1"], values["pass_at_1_interval"], series)
            for series, (run, values) in enumerate(of_runs.items())
            if values is not None
        ]
        for group, of_runs in groups.items()
    }
    note = (
        "Percent right, with 95% intervals over problems: Wilson's if each is right or wrong, otherwise from resampling them; "
        "the average's interval is computed from those of its benchmarks. They show how much results would vary on other "
        "problems of this kind, not with another seed of training."
    )
    return DotPlot("pass-at-1", "Pass@1", list(rows.items()), note, unit="%")


def _row(run: str, value: float, interval: Sequence[float], series: int) -> DotRow:
    low, high = interval
    return DotRow(run, 100 * value, (100 * low, 100 * high), text=percent(value, interval), series=series)


def results_table(runs: Runs) -> Table:
    """The values of each run; the best of a column is strong if there are several."""
    columns = columns_of(runs)
    rows: list[list[Cell]] = []
    for _, name, key in columns:
        values = [(run["benchmarks"].get(name, {}) if name else run["average"]).get(key) for run in runs.values()]
        best = max((value for value in values if value is not None), default=None)
        texts = [cells_of(run, runs, [("", name, key)])[0] for run in runs.values()]
        strong = len(set(values) - {None}) > 1
        rows.append(
            [Number(value, text, strong=strong and value == best) for value, text in zip(values, texts, strict=True)]
        )
    heading = [name for name, _, _ in columns]
    if len(columns) > len(runs):  # the longer side of the table is vertical
        return Table(
            "results", "Results", ["", *runs], [[name, *cells] for name, cells in zip(heading, rows, strict=True)]
        )
    return Table(
        "results",
        "Results",
        ["run", *heading],
        [[run, *cells] for run, cells in zip(runs, zip(*rows, strict=True), strict=True)],
    )


def difference_exhibits(baseline: str, comparisons: Mapping[str, PairedComparison], order: list[str]) -> list[Exhibit]:
    """The differences to the baseline as a figure and as a table; nothing if there is none."""
    lines = difference_rows(comparisons)
    if not lines:
        return []
    groups: dict[str, list[DotRow]] = {}
    for name, comparison in comparisons.items():
        for benchmark, found in {**comparison.benchmarks, "average": comparison.average}.items():
            if isinstance(found, Difference):
                low, high = (100 * end for end in found.interval)
                text = f"{points(found.value)} {points_interval(found.interval)}, p {probability(found.p_value)}"
                row = DotRow(name, 100 * found.value, (low, high), text=text, series=order.index(name))
                groups.setdefault(benchmark, []).append(row)
    if "average" in groups:
        groups["average"] = groups.pop("average")
    note = (
        "Pass@1 minus that of the baseline, in percentage points, on the same problems, with 95% intervals. An interval "
        "without 0 is a difference that remains when problems are resampled."
    )
    counts = (
        "Better and worse count problems; p is the exact two-sided sign test on the two counts, for the average over all "
        f"problems together. Of comparisons without a true difference, here {len(lines)} at most, one in twenty has a p below "
        "0.05."
    )
    title = f"Differences to {baseline}"
    return [
        DotPlot("differences", title, list(groups.items()), note, signed=True),
        Table("differences-table", f"{title}, with numbers of problems", DIFFERENCE_HEADING, lines, counts),
    ]


def answers_table(runs: Runs) -> Table:
    ratios = {
        **{"truncated %": "truncated_ratio", "no answer %": "unanswered_ratio", "undecided %": "undecided_ratio"},
        **{"right of finished %": "accuracy_finished", "avg@n %": "avg_at_n"},
    }
    rows: list[list[Cell]] = []
    for name, run in runs.items():
        for benchmark, values in run["benchmarks"].items():
            problems = str(values["num_problems"])
            notes = {
                "num_errata": "references corrected",
                "no_gold": "without a reference",
                "num_unreadable_references": "references that the grader cannot read",
            }
            problems += "".join(f" ({values[key]} {note})" for key, note in notes.items() if values.get(key))
            cells = [Number(values.get(key), percent(values.get(key))) for key in ratios.values()]
            tokens = values["mean_tokens"]
            cells.append(Number(tokens, "-" if tokens is None else f"{tokens:.0f}"))
            rows.append([name, benchmark, Number(values["num_problems"], problems), *cells])
    note = (
        "Truncated answers reach the limit on new tokens; they have no answer if their last box is cut. Undecided are answers "
        "that the grader cannot read, or whose comparison takes too long; they count as wrong, as do all answers to problems "
        "without a reference. Right of finished is Pass@1 among the answers that are not truncated; avg@n is the mean over "
        "sampled answers."
    )
    return Table("answer-ends", "How answers end", ["run", "benchmark", "problems", *ratios, "mean tokens"], rows, note)


def pass_at_k_tables(runs: Runs) -> list[Table]:
    """One table, or none if no run has several sampled answers."""
    sizes = {int(k) for run in runs.values() for values in run["benchmarks"].values() for k in values["pass_at_k"]}
    if len(sizes) < 2:
        return []
    rows: list[list[Cell]] = [
        [
            name,
            benchmark,
            *(Number(each, percent(each)) for each in map(values["pass_at_k"].get, map(str, sorted(sizes)))),
        ]
        for name, run in runs.items()
        for benchmark, values in run["benchmarks"].items()
        if values["pass_at_k"]
    ]
    note = "Probability that one of k sampled answers is right (unbiased estimate)."
    return [Table("pass-at-k", "pass@k", ["run", "benchmark", *(f"k = {k}" for k in sorted(sizes))], rows, note)]


def times_table(runs: Runs, folders: Mapping[str, Path]) -> Table:
    rows: list[list[Cell]] = []
    for name, run in runs.items():
        path = folders[name] / "steps.json"
        record: Mapping[str, Any] = read_card(path, "reproduce") if path.is_file() else {}
        seconds = [record.get(step, {}).get("seconds") for step in STEPS]
        known = [each for each in seconds if each is not None]
        generating = sum(values["seconds"] for values in run["benchmarks"].values())
        speeds = [values["tokens_per_second"] for values in run["benchmarks"].values() if values["tokens_per_second"]]
        speed = " to ".join(f"{each:,.0f}" for each in dict.fromkeys((min(speeds), max(speeds)))) if speeds else "-"
        cells = [*seconds, sum(known) if known else None, generating]
        rows.append([name, *(Number(each, "-" if each is None else f"{each:,.1f}") for each in cells), speed])
    note = "Seconds. The steps are those of `circuitseer reproduce`; generating is part of evaluate."
    return Table("times", "Time", ["run", *STEPS, "together", "generating", "tokens a second"], rows, note)


def settings_table(runs: Runs) -> Table:
    rows = [[name, run["model"], _settings_line(run["settings"])] for name, run in runs.items()]
    return Table("settings", "Settings", ["run", "model", "settings"], rows, text_columns=["settings"])


def _settings_line(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {settings[name]}" for name in SETTINGS if settings.get(name) is not None)
