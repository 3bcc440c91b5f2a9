"""Measures Pass@1 and Majority@n of a model on mathematics benchmarks."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import run_command
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.extras import require_extra
from circuitseer_trl.finished import FinishedStep
from circuitseer_trl.recipe import parse_recipe


def main(args: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = parse_recipe(
        EvaluationConfig, args=args, prog="circuitseer evaluate", description=__doc__, kinds=("eval",)
    )
    local = [config.benchmarks_dir or "", None if config.backend == "replay" else config.model_name_or_path]
    finished = FinishedStep("evaluate", config.output_dir, [config], local, [config.replay_from, config.base_url])
    if config.report_to == "none" and (text := finished.text()):
        print(text)
        return
    require_extra("eval", "Evaluation", "math_verify")
    from circuitseer_trl.evaluation.answering.schedule import join_processes
    from circuitseer_trl.evaluation.run import evaluate
    from circuitseer_trl.pages.result_tables import results_table
    from circuitseer_trl.tracking import check_tracker, start_run

    check_tracker(config.report_to)
    join_processes(config.backend)
    if config.report_to == "wandb":
        start_run("evaluate")
    results = evaluate(config)
    if results is not None:
        text = results_table({Path(config.output_dir).name: results})
        print(text)
        finished.record(text, ["results.json", "generations", "verdicts"])


if __name__ == "__main__":
    sys.exit(run_command(main))
