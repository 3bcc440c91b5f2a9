"""Measures Pass@1 and Majority@n of a model on mathematics benchmarks."""

import logging
from pathlib import Path

from circuitseer_trl.evaluation.answering.schedule import join_processes
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.pages.result_tables import results_table
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.tracking import start_run


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = parse_recipe(
        EvaluationConfig,
        prog="python -m eval.run",
        description="Measures Pass@1 and Majority@n on mathematics benchmarks.",
    )
    join_processes(config.backend)
    if config.report_to == "wandb":
        start_run("evaluate")
    results = evaluate(config)
    if results is not None:
        print(results_table({Path(config.output_dir).name: results}))


if __name__ == "__main__":
    main()
