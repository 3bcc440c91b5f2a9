"""What does the page of a report show? Results of runs, their differences, their times, and their selections."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_card
from circuitseer_trl.drawing.charts import Axis, figure, head_map, heading, linear_axis, row, whisker
from circuitseer_trl.drawing.html_pages import html_page, html_table
from circuitseer_trl.evaluation.paired import Difference, PairedComparison
from circuitseer_trl.evaluation.run_folders import Runs
from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
from circuitseer_trl.pages.result_tables import (
    DIFFERENCE_HEADING,
    difference_rows,
    not_compared,
    percent,
    points,
    probability,
    results_rows,
)
from circuitseer_trl.selection.overlaps import Overlap, overlaps
from circuitseer_trl.selection.step_cards import CARDS, EXAMPLE_GROUPS, read_step_cards
from circuitseer_trl.selection.stored_selection import read_selection

STEPS = ("select", "train", "evaluate")
SETTINGS = (
    *("backend", "preset", "temperature", "top_p", "repetition_penalty", "max_new_tokens", "vote", "prompt_template"),
    *("dtype", "seed", "limit"),
)


def report_page(
    runs: Runs,
    folders: Mapping[str, Path],
    baseline: str,
    comparisons: Mapping[str, PairedComparison],
    selection_dirs: Iterable[str | Path] = (),
) -> str:
    """Makes the page as HTML.

    Args:
        runs: Content of results.json, by the run's name.
        folders: The runs' folders, which may also have other files of `circuitseer reproduce`.
        baseline: Name of the run that the others are compared with.
        comparisons: The comparisons of the other runs with the baseline, by their names.
        selection_dirs: More folders with heads.json, scores.json or selection.json.
    """
    parts = [
        '<p class="note">Percent right, with 95% intervals over problems: Wilson\'s if each is right or wrong, otherwise '
        "from resampling them; the average's interval is computed from those of its benchmarks. They show how much results "
        "would vary on other problems of this kind, not with another seed of training.</p>",
        "<h2>Pass@1</h2>",
        _results_chart(runs),
        html_table(results_rows(runs)[0], results_rows(runs)[1:]),
        _differences(baseline, comparisons, list(runs)),
        "<h2>Answers</h2>",
        _answers(runs),
        _pass_at_k(runs),
        _times(runs, folders),
        "<h2>Settings</h2>",
        html_table(
            ["run", "model", "settings"],
            ([name, run["model"], _settings_line(run["settings"])] for name, run in runs.items()),
            text_columns=["settings"],
        ),
        _selections(folders, selection_dirs),
    ]
    return html_page("CircuitSeer report", "".join(parts))


def _interval_text(interval: Sequence[float], signed: bool = False) -> str:
    return "[{}, {}]".format(*(points(end) if signed else f"{100 * end:.1f}" for end in interval))


def _results_chart(runs: Runs) -> str:
    names = list(dict.fromkeys(name for run in runs.values() for name in run["benchmarks"]))
    groups = {name: {run: values["benchmarks"].get(name) for run, values in runs.items()} for name in names}
    if len({tuple(sorted(run["benchmarks"])) for run in runs.values()}) == 1 and len(names) > 1:
        groups[f"average of {len(names)}"] = {run: values["average"] for run, values in runs.items()}
    measured = [values for group in groups.values() for values in group.values() if values is not None]
    axis = linear_axis([100 * end for values in measured for end in values["pass_at_1_interval"]], unit="%")
    rows = []
    for group, of_runs in groups.items():
        rows.append(heading(group))
        for series, (run, values) in enumerate(of_runs.items()):
            if values is not None:
                interval = values["pass_at_1_interval"]
                marks = whisker(axis, 100 * values["pass_at_1"], [100 * end for end in interval], series)
                rows.append(
                    row(axis, run, marks, percent(values["pass_at_1"]), note=_interval_text(interval), series=series)
                )
    return figure(axis, rows, "Pass@1 with 95% intervals.")


def _differences(baseline: str, comparisons: Mapping[str, PairedComparison], order: list[str]) -> str:
    if not comparisons:
        return ""
    rows = difference_rows(comparisons)
    sentences = "".join(f'<p class="note">{html.escape(each)}</p>' for each in not_compared(baseline, comparisons))
    if not rows:
        return f"<h2>Differences to {html.escape(baseline)}</h2>{sentences}"
    note = (
        "Pass@1 (in the chart) or Majority@n minus that of the baseline, in percentage points, on the same problems. An "
        "interval without 0 is a difference that remains when problems are resampled. Better and worse count problems; "
        "p is the exact two-sided sign test on the two counts, for the average over all problems together. "
        f"Of comparisons without a true difference, here {len(rows)} at most, one in twenty has a p below 0.05."
    )
    table = html_table(DIFFERENCE_HEADING, rows)
    return (
        f'<h2>Differences to {html.escape(baseline)}</h2><p class="note">{note}</p>{_difference_chart(comparisons, order)}'
        f"{sentences}<details><summary>As a table, with numbers of problems</summary>{table}</details>"
    )


def _difference_chart(comparisons: Mapping[str, PairedComparison], order: list[str]) -> str:
    groups: dict[str, list[tuple[str, Difference]]] = {}
    for name, comparison in comparisons.items():
        for benchmark, found in {**comparison.benchmarks, "average": comparison.average}.items():
            if isinstance(found, Difference):
                groups.setdefault(benchmark, []).append((name, found))
    if "average" in groups:
        groups["average"] = groups.pop("average")
    ends = [100 * end for group in groups.values() for _, found in group for end in found.interval]
    axis: Axis = linear_axis([0.0, *ends], signed=True)
    rows = []
    for benchmark, group in groups.items():
        rows.append(heading(benchmark))
        for name, found in group:
            series = order.index(name)
            marks = whisker(axis, 100 * found.value, [100 * end for end in found.interval], series)
            note = f"{_interval_text(found.interval, signed=True)}, p {probability(found.p_value)}"
            rows.append(row(axis, name, marks, points(found.value), note=note, series=series))
    return figure(axis, rows, "Percentage points above or below the baseline, with 95% intervals.")


def _answers(runs: Runs) -> str:
    heading = [
        "run",
        "benchmark",
        "problems",
        "truncated %",
        "no answer %",
        "undecided %",
        "right of finished %",
        "avg@n %",
    ]
    rows = []
    for name, run in runs.items():
        for benchmark, values in run["benchmarks"].items():
            ratios = ("truncated_ratio", "unanswered_ratio", "undecided_ratio", "accuracy_finished", "avg_at_n")
            cells = [percent(values.get(key)) for key in ratios]
            tokens = "-" if values["mean_tokens"] is None else f"{values['mean_tokens']:.0f}"
            problems = str(values["num_problems"])
            notes = {"num_errata": "references corrected", "no_gold": "without a reference"}
            problems += "".join(f" ({values[key]} {note})" for key, note in notes.items() if values.get(key))
            rows.append([name, benchmark, problems, *cells, tokens])
    note = (
        '<p class="note">Truncated answers reach the limit on new tokens; they have no answer if their last box is cut. '
        "Undecided are answers that the grader cannot read, or whose comparison takes too long; they count as wrong, as do all "
        "answers to problems without a reference. Right of finished is Pass@1 among the answers that are not truncated; avg@n is "
        "the mean over sampled answers.</p>"
    )
    return note + html_table([*heading, "mean tokens"], rows)


def _pass_at_k(runs: Runs) -> str:
    sizes = {int(k) for run in runs.values() for values in run["benchmarks"].values() for k in values["pass_at_k"]}
    if len(sizes) < 2:
        return ""
    rows = [
        [name, benchmark, *(percent(values["pass_at_k"].get(str(k))) for k in sorted(sizes))]
        for name, run in runs.items()
        for benchmark, values in run["benchmarks"].items()
        if values["pass_at_k"]
    ]
    note = '<p class="note">Probability that one of k sampled answers is right (unbiased estimate).</p>'
    return f"<h2>pass@k</h2>{note}{html_table(['run', 'benchmark', *(f'k = {k}' for k in sorted(sizes))], rows)}"


def _times(runs: Runs, folders: Mapping[str, Path]) -> str:
    rows = []
    for name, run in runs.items():
        path = folders[name] / "steps.json"
        record = read_card(path, "reproduce") if path.is_file() else {}
        seconds = [record.get(step, {}).get("seconds") for step in STEPS]
        cells = ["-" if each is None else f"{each:,.1f}" for each in seconds]
        known = [each for each in seconds if each is not None]
        generating = sum(values["seconds"] for values in run["benchmarks"].values())
        speeds = [values["tokens_per_second"] for values in run["benchmarks"].values() if values["tokens_per_second"]]
        speed = f"{min(speeds):,.0f}" if speeds else "-"
        cells += [f"{sum(known):,.1f}" if known else "-", f"{generating:,.1f}"]
        rows.append([name, *cells, speed if len(speeds) < 2 else f"{speed} to {max(speeds):,.0f}"])
    note = (
        '<p class="note">Seconds. The steps are those of `circuitseer reproduce`; generating is part of evaluate.</p>'
    )
    return f"<h2>Time</h2>{note}{html_table(['run', *STEPS, 'together', 'generating', 'tokens a second'], rows)}"


def _settings_line(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {settings[name]}" for name in SETTINGS if settings.get(name) is not None)


def _selections(folders: Mapping[str, Path], more: Iterable[str | Path]) -> str:
    """A section for every folder with a selection: the runs' folders, their `selection` folders, and those given."""
    found = selection_folders(folders, more)
    sections = [f"<h3>{html.escape(name)}</h3>{_selection(folder)}" for name, folder in found]
    rows = overlap_rows(run_overlaps(folders, more))
    shared = f"<h3>{OVERLAP_TITLE}</h3>{html_table(OVERLAP_HEADING, rows)}" if rows else ""
    return f"<h2>Selection</h2>{shared}{''.join(sections)}" if sections else ""


def selection_folders(folders: Mapping[str, Path], more: Iterable[str | Path]) -> list[tuple[str, Path]]:
    """The folders with a card of a selection, each once: the runs' folders, their `selection` folders, and those given."""
    candidates = [(name, place) for name, folder in folders.items() for place in (folder, folder / "selection")]
    candidates += [(str(folder), Path(folder)) for folder in more]
    by_place: dict[Path, tuple[str, Path]] = {}
    for name, folder in candidates:
        if any((folder / file).is_file() for file in CARDS):
            by_place.setdefault(folder.resolve(), (name, folder))
    return list(by_place.values())


def run_overlaps(folders: Mapping[str, Path], more: Iterable[str | Path] = ()) -> list[Overlap]:
    """The overlap of each two of the runs' selections of one pool. A run without its selected rows has none."""
    stored = {
        name: read_selection(folder / "selection.parquet")
        for name, folder in selection_folders(folders, more)
        if (folder / "selection.parquet").is_file() and (folder / "selection.json").is_file()
    }
    return overlaps(
        {name: each.card for name, each in stored.items()}, {name: each.uids for name, each in stored.items()}
    )


def _selection(folder: Path) -> str:
    """Shows heads.json, examples.json, scores.json and selection.json of a folder."""
    parts = []
    cards = read_step_cards(folder)
    warnings = dict.fromkeys(each for card in cards.values() for each in card.get("warnings", []))  # each once
    parts += [f"<p><strong>Warning.</strong> {html.escape(each)}</p>" for each in warnings]
    heads = cards.get("heads.json", {})
    if "importance" in heads:
        parts.append(
            f"<p>{len(heads['selected'])} of {sum(map(len, heads['importance']))} heads selected (framed). Colour: "
            "increase of the response loss without the head, in nats per token; the warm colour is more.</p>"
            f"{head_map(heads['importance'], heads['selected'])}"
        )
    if "examples.json" in cards:
        parts.append(_examples({group: cards["examples.json"][group] for group in EXAMPLE_GROUPS}))
    for file in ("scores.json", "selection.json"):
        if file in cards:
            facts = html_table(["", ""], _facts(cards[file]))
            parts.append(f"<details><summary>{file}</summary>{facts}</details>")
    return "".join(parts)


def _examples(examples: dict[str, list[dict[str, Any]]]) -> str:
    """Rows of the pool by their scores, collapsed."""
    parts = []
    for group, rows in examples.items():
        if rows:
            cells = [
                [
                    "-" if line["score"] is None else f"{line['score']:.4g}",
                    "-" if line["num_tokens"] is None else str(line["num_tokens"]),
                    "yes" if line.get("selected") else "no",
                    line["problem"],
                ]
                for line in rows
            ]
            title = "Random rows" if group == "random" else f"Rows with the {group} scores"
            table = html_table(["score", "tokens", "selected", "problem"], cells, text_columns=["problem"])
            parts.append(f"<details><summary>{title}</summary>{table}</details>")
    return "".join(parts)


def _facts(card: dict[str, Any]) -> list[list[str]]:
    """The plain values of a card, and those of its dicts."""
    facts = []
    for key, value in card.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in inner:
            if isinstance(each, str | int | float | bool):
                text = f"{each:.4g}" if isinstance(each, float) else str(each)
                facts.append([f"{key}.{name}" if name else key, text])
    return facts
