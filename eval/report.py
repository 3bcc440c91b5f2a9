"""`python -m eval.report RUN...`: one table for several runs, and a page with it that needs no network."""

import argparse
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_json, write_text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
small { color: #666; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: #444; }
"""


def _percent(value: float | None, interval: list[float] | tuple[float, float] | None = None) -> str:
    if value is None:
        return "-"
    spread = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.1f}{spread}"


def _columns(runs: Mapping[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(heading, benchmark or empty for the average, key of the value), Majority@n only where a run has it."""
    columns = []
    for name in dict.fromkeys(name for run in runs.values() for name in run["benchmarks"]):
        sizes = {run["benchmarks"][name]["num_samples"] for run in runs.values() if name in run["benchmarks"]} - {0}
        columns.append((f"{name} Pass@1", name, "pass_at_1"))
        if sizes:
            columns.append((f"{name} Maj@{'/'.join(map(str, sorted(sizes)))}", name, "majority_at_n"))
    columns.append(("Average Pass@1", "", "pass_at_1"))
    if any(run["average"]["majority_at_n"] is not None for run in runs.values()):
        columns.append(("Average Maj@n", "", "majority_at_n"))
    return columns


def _cells(run: dict[str, Any], columns: Iterable[tuple[str, str, str]]) -> list[str]:
    cells = []
    for _, name, key in columns:
        values = run["benchmarks"].get(name, {}) if name else run["average"]
        cells.append(_percent(values.get(key), values.get(f"{key}_interval")))
    return cells


def results_table(runs: Mapping[str, dict[str, Any]]) -> str:
    """Runs below each other, benchmarks and average beside each other, in percent with 95% intervals over problems."""
    columns = _columns(runs)
    rows = [
        ["run", *(heading for heading, _, _ in columns)],
        *([name, *_cells(run, columns)] for name, run in runs.items()),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _html_table(heading: list[str], rows: Iterable[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _details(runs: Mapping[str, dict[str, Any]]) -> str:
    rows = []
    for name, run in runs.items():
        for benchmark, values in run["benchmarks"].items():
            ratios = [_percent(values[key]) for key in ("truncated_ratio", "unanswered_ratio", "timeout_ratio")]
            tokens, speed = values["mean_tokens"], values["tokens_per_second"]
            rows.append(
                [
                    name,
                    benchmark,
                    str(values["num_problems"]),
                    *ratios,
                    "-" if tokens is None else f"{tokens:.0f}",
                    f"{values['seconds']:.0f}",
                    "-" if speed is None else f"{speed:.0f}",
                ]
            )
    heading = [
        "run",
        "benchmark",
        "problems",
        "truncated %",
        "no answer %",
        "not gradable %",
        "mean tokens",
        "seconds",
        "tokens/s",
    ]
    return _html_table(heading, rows)


def heat_map(heads: dict[str, Any]) -> str:
    """The importance of every head as an inline SVG, the selected ones framed."""
    importance = heads["importance"]
    selected = {(layer, head) for layer, head in heads["selected"]}
    largest = max((abs(value) for row in importance for value in row), default=0.0) or 1.0
    cell, left, top = 24, 60, 24
    parts = []
    for layer, row in enumerate(importance):
        parts.append(f'<text x="{left - 8}" y="{top + layer * cell + 16}" text-anchor="end">layer {layer}</text>')
        for head, value in enumerate(row):
            # Losing a head that matters raises the loss: red. Blue heads are better lost.
            rgb = "200,40,30" if value > 0 else "40,80,200"
            frame = ' stroke="#000" stroke-width="2"' if (layer, head) in selected else ' stroke="#eee"'
            place = f'x="{left + head * cell + 1}" y="{top + layer * cell + 1}" width="{cell - 3}" height="{cell - 3}"'
            fill = f'fill="rgba({rgb},{abs(value) / largest:.3f})"'
            title = f"<title>layer {layer}, head {head}: {value:.4g}</title>"
            parts.append(f"<rect {place} {fill}{frame}>{title}</rect>")
    width = max((len(row) for row in importance), default=0)
    parts += [f'<text x="{left + head * cell + 12}" y="16" text-anchor="middle">{head}</text>' for head in range(width)]
    size = f'width="{left + width * cell + 8}" height="{top + len(importance) * cell + 8}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Head importance">{"".join(parts)}</svg>'
    )


def _facts(card: dict[str, Any]) -> list[list[str]]:
    """The plain values of a card, those of one level of dicts among them."""
    facts = []
    for key, value in card.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, each in inner:
            if isinstance(each, str | int | float | bool):
                text = f"{each:.4g}" if isinstance(each, float) else str(each)
                facts.append([f"{key}.{name}" if name else key, text])
    return facts


def _selection_section(name: str, folder: Path) -> str:
    """What heads.json, scores.json and selection.json in `folder` tell; empty where it has none of them."""
    parts = []
    if (folder / "heads.json").is_file():
        heads = read_json(folder / "heads.json")
        parts.append(
            f"<p>{len(heads['selected'])} of {sum(map(len, heads['importance']))} heads selected (framed). Colour: "
            f"increase of the response loss without the head, in nats per token; red is more.</p>{heat_map(heads)}"
        )
    for file in ("scores.json", "selection.json"):
        if (folder / file).is_file():
            parts.append(f"<h4>{file}</h4>" + _html_table(["", ""], _facts(read_json(folder / file))))
    return f"<h3>{html.escape(name)}</h3>{''.join(parts)}" if parts else ""


def report_page(runs: Mapping[str, dict[str, Any]], selections: Mapping[str, Path]) -> str:
    """The whole page as HTML.

    Args:
        runs: Content of results.json by the run's name.
        selections: Folders that may hold heads.json, scores.json and selection.json, by the name to show.
    """
    columns = _columns(runs)
    table = _html_table(
        ["run", *(heading for heading, _, _ in columns)], ([name, *_cells(run, columns)] for name, run in runs.items())
    )
    settings = _html_table(
        ["run", "model", "settings"],
        ([name, run["model"], _settings_line(run["settings"])] for name, run in runs.items()),
    )
    sections = "".join(_selection_section(name, folder) for name, folder in selections.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>CircuitSeer report</title><style>{STYLE}</style>'
        "<h1>Report</h1><p>Percent, with 95% intervals from resampling the problems.</p>"
        f"{table}<h2>Answers</h2>{_details(runs)}<h2>Settings</h2>{settings}"
        + (f"<h2>Selection</h2>{sections}" if sections else "")
        + "</html>\n"
    )


def _settings_line(settings: dict[str, Any]) -> str:
    names = (
        "backend",
        "preset",
        "temperature",
        "top_p",
        "repetition_penalty",
        "max_new_tokens",
        "vote",
        "prompt_template",
        "dtype",
        "seed",
        "limit",
    )
    return ", ".join(f"{name} {settings[name]}" for name in names if settings.get(name) is not None)


def read_runs(paths: Iterable[str | Path]) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """Results and folders of runs, by names short enough for a table."""
    folders = []
    for path in map(Path, paths):
        folder = path.parent if path.name == "results.json" else path
        if not (folder / "results.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no results.json. `python -m eval.run --output_dir {folder} ...` writes it."
            )
        folders.append(folder.resolve())
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    named = {"/".join(folder.parts[-depth:]): folder for folder in folders}
    return {name: read_json(folder / "results.json") for name, folder in named.items()}, named


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m eval.report", description="Compares runs in one table.", allow_abbrev=False
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output_dir of an evaluation, or its results.json")
    parser.add_argument(
        "--selection_dir", action="append", default=[], help="folder with heads.json, scores.json, selection.json"
    )
    parser.add_argument("--output", default="report.html", help="page to write (default: report.html)")
    arguments = parser.parse_args()
    runs, folders = read_runs(arguments.runs)
    selections = folders | {str(Path(folder)): Path(folder) for folder in arguments.selection_dir}
    print(results_table(runs))
    write_text(arguments.output, report_page(runs, selections))
    print(f"\nPage: {arguments.output}")


if __name__ == "__main__":
    main()
