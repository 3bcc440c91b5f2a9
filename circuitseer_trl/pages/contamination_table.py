"""Which benchmarks may a model know already? Its accuracy beside what it recites, and beside the pool's overlap."""

from circuitseer_trl.drawing.exhibits import Cell, Number, Table
from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.evaluation.run_folders import Runs
from circuitseer_trl.pages.result_tables import percent

_MEASURES = {
    **{"Pass@1 %": "pass_at_1", "rest exact %": "rest_exact_match", "rest ROUGE-L %": "rest_rouge_l"},
    "in the pool %": "pool_overlap_ratio",
}
_NOTE = (
    "The model gets the first 60% of a problem, without a template, and writes on (arXiv 2507.10532). Rest exact: it writes the "
    "whole rest. In the pool: problems that share a run of words with a problem of the pool. A benchmark whose rests a model "
    "writes is likely to be in its training data: its accuracy there says little."
)


def contamination_tables(runs: Runs) -> list[Table]:
    """One table of the runs and benchmarks where it was measured, or none."""
    rows: list[list[Cell]] = []
    for run, results in runs.items():
        for benchmark, values in results["benchmarks"].items():
            if "num_cut_problems" in values or "pool_overlap_ratio" in values:
                shown = [(values.get(key), values.get(f"{key}_interval")) for key in _MEASURES.values()]
                cells = [Number(value, percent(value, interval)) for value, interval in shown]
                cut, in_pool = values.get("num_cut_problems"), values.get("num_pool_rows")
                counts = [Number(each, "-" if each is None else str(each)) for each in (cut, in_pool)]
                rows.append([run, benchmark, *cells, *counts])
    heading = ["run", "benchmark", *_MEASURES, "problems cut", "rows of the pool"]
    return [Table("contamination", "Contamination", heading, rows, _NOTE)] if rows else []


def contamination_text(runs: Runs) -> str:
    """The table for a terminal, after an empty line; empty if nothing was measured."""
    return "".join(f"\n\n{each.title}\n{text_table(each.heading, each.rows)}" for each in contamination_tables(runs))
