"""How is the evidence told? `docs/evidence.md`, its figure and its page, made again from the rows alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.bed.differences import MEASURES, Family, Row, holm_together, paired_difference, read_families
from bench.bed.grid import Grid
from bench.bed.plan import Plan, read_plan
from bench.bed.run import read_rows
from bench.bed.wording import SHOWN, amount, difference_text, listed, words
from circuitseer_trl.artifacts import read_json
from circuitseer_trl.drawing.exhibits import DotPlot, DotRow, Exhibit, Number, Table
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.drawing.plots import plot
from circuitseer_trl.drawing.table_files import table_markdown
from circuitseer_trl.pages.sections import Section, section_html

HERE = Path(__file__).parent
PLANS, ROWS, TEMPLATE = HERE / "plans", HERE / "rows", HERE / "evidence_template.md"
DOCS = HERE.parents[1] / "docs"


def all_rows(plans: Sequence[Plan], rows_folder: Path = ROWS) -> dict[str, list[Row]]:
    """The rows of each plan that has some."""
    files = {plan.name: sorted((rows_folder / plan.name).glob("*.jsonl")) for plan in plans}
    return {name: [row for file in each for row in read_rows(file)] for name, each in files.items() if each}


def claim(family: Family, against: str) -> str:
    """A comparison as a sentence, with both intervals and the number of replicates."""
    both = family.of(against)
    numbers = "; ".join(f"{SHOWN[each.measure][0]} {difference_text(each)}" for each in both)
    better, worse = ([SHOWN[each.measure][0] for each in both if getattr(each, key)] for key in ("favours", "opposes"))
    if len(better) == len(both):
        verb = "beat"
    elif better:
        verb = f"are better in {better[0]}{f', and worse in {worse[0]},' if worse else ' alone'} than"
    elif worse:
        verb = f"are worse in {' and '.join(worse)} than"
    else:
        verb = "are not shown to beat"
    subject = words(family.method)
    return f"{subject[0].upper()}{subject[1:]} {verb} {words(against)} ({numbers}; n = {family.num})."


def claims_of(family: Family) -> list[str]:
    """The sentences of a family. There are none before its last replicate: looking early and stopping would be another test."""
    if family.explored:
        return ["explored, so nothing is claimed; its table is below."]
    if family.is_whole:
        return [claim(family, name) for name in family.against]
    return [f"{family.num} of {family.num_replicates} replicates so far. Nothing is claimed before the last."]


def verdict(families: Sequence[Family]) -> str:
    """The first sentence: on how many declared comparisons the method holds, and on which it does not."""
    whole = [each for each in families if each.is_whole and not each.explored]
    if not whole:
        return "No declared hypothesis has all of its replicates yet."
    held = sum(len(each.beaten) for each in whole)
    total = sum(len(each.against) for each in whole)
    missed = sorted({name for each in whole for name in each.against if name not in each.beaten})
    worse = sum(any(each.opposes for each in family.of(name)) for family in whole for name in family.against)
    text = f"Of {total} declared comparisons with all their replicates, {words(whole[0].method)} win {held} on both measures."
    if worse:
        text += f" In {worse} they are worse on one or both."
    if missed:
        text += f" They do not always beat {listed([words(name) for name in missed], 'or')}."
    return text


def strictest(families: Sequence[Family]) -> str:
    """How many comparisons hold if the tests of all whole families are adjusted as one family."""
    whole = holm_together([each for each in families if each.is_whole and not each.explored])
    tests = sum(len(each.differences) for each in whole)
    held = sum(len(each.beaten) for each in whole)
    return (
        f"Comparisons that hold with the {tests} tests of all these families adjusted as one: {held}." if whole else ""
    )


def family_table(family: Family, place: int) -> Table:
    heading = ["against", "n"]
    for measure in MEASURES:
        name, unit, _, _ = SHOWN[measure]
        heading += [f"{name}{', ' + unit if unit else ''}", "p (Holm)", "80% power for"]
    lines = []
    for name in family.against:
        line: list[str | Number] = [words(name), Number(family.of(name)[0].num, str(family.of(name)[0].num))]
        for each in family.of(name):
            before = family.detectable(name, each.measure)
            line += [
                Number(each.mean, difference_text(each), strong=each.favours and family.is_whole),
                Number(each.p_holm, "" if each.p_holm is None else f"{each.p_holm:.2g}"),
                Number(before, "" if before is None else amount(each.measure, before, signed=False)),
            ]
        lines.append(line)
    note = (
        f"{family.says} {family.num} of {family.num_replicates} replicates. Bold: in favour, with adjusted p below 5%, once all "
        "replicates are there. The true difference that would be found with 80% power (at 5%, before Holm) is reckoned from a "
        "pilot, where there was one."
    )
    return Table(
        f"family-{place}", f"{'Explored' if family.explored else 'Declared'}: {family.name}", heading, lines, note
    )


# Columns that are means of a row's values, and their form.
COLUMNS = {"num_rows": ".0f", "mean_steps": ".1f", "right_ratio": ".2f", "exact": ".3f", "loss": ".4f"}


def mean_of(values: Sequence[float], form: str) -> Number:
    mean = float(np.mean(values)) if values else None
    return Number(mean, "" if mean is None else f"{mean:{form}}")


def method_table(name: str, rows: Sequence[Row], methods: Sequence[str]) -> Table:
    """All methods of one base model, kind of pool and budget: what they choose, and how good the trained models are."""
    heading = [
        "method",
        "n",
        "failed",
        "rows",
        "steps",
        "right",
        "exact match",
        "loss",
        "exact - random",
        "log of the loss - random",
    ]
    heading += ["rho(steps)", "given problem length", "given solution length", "seconds"]
    lines = []
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        done = [row for row in own if row["status"] == "ok"]
        line: list[str | Number] = [
            method,
            *(Number(number, str(number)) for number in (len(done), len(own) - len(done))),
        ]
        line += [mean_of([row[key] for row in done], form) for key, form in COLUMNS.items()]
        for measure in MEASURES:
            each = paired_difference(rows, method, "random", measure)
            shown = method != "random" and each.interval is not None
            line.append(Number(each.mean, difference_text(each)) if shown else Number(None, ""))
        for key in ("steps", "steps_given_problem_length", "steps_given_solution_length"):
            line.append(
                mean_of([row["rho"][key] for row in done if row["rho"] and row["rho"][key] is not None], "+.2f")
            )
        lines.append([*line, mean_of([row["seconds"] for row in done], ".0f")])
    return Table(
        name, f"All methods: {name}", heading, lines, "Differences are paired with random rows; 95% intervals."
    )


def heads_table(rows_folder: Path, plans: Sequence[str]) -> Table:
    """The heads that the methods scored with, and how sure they are."""
    lines = []
    for path in [path for plan in plans for path in sorted((rows_folder / plan).glob("heads-*.json"))]:
        found = read_json(path)
        sets = {
            name: ", ".join(f"{layer}.{head}" for layer, head in each["selected"])
            for name, each in found["sets"].items()
        }
        again = ", ".join(f"{share:.0%}" for share in found["stability"]) if "stability" in found else ""
        pools = f"{found['kind']}, {found['replicate']}" if "replicate" in found else found["kind"]
        lines.append([path.parent.name, found["base"], pools, *sets.values(), again])
    heading = [
        "plan",
        "base model",
        "pools",
        "highest rise",
        "highest contrast",
        "highest rise outside the first layer",
    ]
    note = (
        "Layer and head, from 0, found on 150 rows: of a pool of their own, or, with the number of a replicate, of its pool. The "
        "last column, where it was kept: how often each contrast head is selected again when the rows are drawn with "
        "replacement."
    )
    return Table("heads", "Heads", [*heading, "selected again"], lines, note)


def story(families: Sequence[Family], measure: str) -> DotPlot:
    """The figure: differences of the method to each control, by family."""
    title, unit, scale, _ = SHOWN[measure]
    groups = []
    for name in dict.fromkeys(name for family in families for name in family.against):
        lines = []
        for place, family in enumerate(families):
            for each in family.of(name) if name in family.against else []:
                if each.measure == measure and each.interval is not None:
                    ends = (each.interval[0] * scale, each.interval[1] * scale)
                    lines.append(DotRow(family.name, each.mean * scale, ends, text=difference_text(each), series=place))
        groups.append((f"against {words(name)}", lines))
    better = "higher" if MEASURES[measure][1] else "lower"
    return DotPlot(
        f"evidence-{measure}",
        f"{words(families[0].method).capitalize()}: difference in {title}",
        groups,
        note=f"95% intervals over replicates; {better} is better.",
        unit=unit,
        signed=True,
    )


def groups_of(rows: Mapping[str, Sequence[Row]], plans: Mapping[str, Plan]) -> list[tuple[str, list[Row], list[str]]]:
    """Name, rows and methods of each plan, base model, kind of pool and budget."""
    groups = []
    for name, each in rows.items():
        keys = dict.fromkeys((row["base"], row["kind"], row["budget"]) for row in each)
        methods = [str(method["name"]) for method in plans[name].methods]
        for base, kind, budget in keys:
            own = [row for row in each if (row["base"], row["kind"], row["budget"]) == (base, kind, budget)]
            groups.append((f"{name}, {base}, {kind}, {budget}", own, methods))
    return groups


def write_ledger(docs: Path = DOCS, rows_folder: Path = ROWS) -> str:
    """Writes the text, the figures and the page. Returns the verdict."""
    plans = {path.stem: read_plan(path) for path in sorted(PLANS.glob("*.yaml"))}
    rows = all_rows(list(plans.values()), rows_folder)
    families = read_families(rows, {name: plan.num_replicates for name, plan in plans.items()})
    tables = [family_table(family, place) for place, family in enumerate(families, start=1)]
    others = [method_table(*group) for group in groups_of(rows, plans)]
    whole = [family for family in families if family.is_whole and not family.explored]
    figures = [story(whole or families, measure) for measure in MEASURES]
    explored = [Grid(plans["grid"], rows["grid"])] if "grid" in rows else []
    grid_tables = [table for grid in explored for table in grid.tables()]
    grid_figures = [grid.figure(measure) for grid in explored for measure in MEASURES]
    each_row = [row for group in rows.values() for row in group]
    failed = sum(row["status"] != "ok" for row in each_row)
    hours = sum(row.get("seconds", 0) for row in each_row) / 3600
    claims = [f"- *{family.name}*: {text}" for family in families for text in claims_of(family)]
    head_sets = heads_table(rows_folder, list(rows))
    parts = {
        "VERDICT": verdict(families),
        "CLAIMS": "\n".join(claims),
        "STRICTEST": strictest(families),
        "GRID": "\n".join(
            [
                *(f"![{figure.title}](images/{figure.name}.png)\n" for figure in grid_figures),
                *map(table_markdown, grid_tables),
            ]
        )
        or "It has no rows yet.",
        "FAMILIES": "\n".join(table_markdown(table) for table in tables),
        "HEADS": table_markdown(head_sets),
        "METHODS": "\n".join(table_markdown(table) for table in others),
        "COUNTS": f"{len(each_row)} trainings, of which {failed} failed; {hours:.1f} hours of a process, by the clock.",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for key, value in parts.items():
        text = text.replace(f"<{key}>", value)
    (docs / "evidence.md").write_text(text, encoding="utf-8")
    for figure in [*figures, *grid_figures]:
        (docs / "images" / f"{figure.name}.png").write_bytes(plot(figure, "png"))
    shown: list[Exhibit] = [*figures, *tables]
    sections = [
        Section(
            "answer", "Do contrast heads help?", [parts["VERDICT"], *(line[2:].replace("*", "") for line in claims)]
        ),
        Section("declared", "Declared comparisons", exhibits=shown),
        Section("grid", "Every signal (explored)", exhibits=[*grid_figures, *grid_tables]),
        Section("heads", "Heads", exhibits=[head_sets]),
        Section("methods", "All methods", [parts["COUNTS"]], others),
    ]
    contents = [(section.name, section.title) for section in sections]
    page = html_page("Evidence", "".join(map(section_html, sections)), contents=contents)
    (docs / "evidence.html").write_text(page, encoding="utf-8")
    return json.dumps(parts["VERDICT"])[1:-1]
