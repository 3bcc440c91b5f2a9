"""Measures Pass@1 and Majority@n of a model on mathematics benchmarks."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed.finishing import is_launched, say_if_finished
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.finished_evaluation import PRODUCTS, evaluation_step
from circuitseer_trl.extras import require_extra
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.recipe import parse_recipe


def main(args: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = parse_recipe(
        EvaluationConfig, args=args, prog="circuitseer evaluate", description=__doc__, kinds=("eval",)
    )
    config.check_files()
    if config.backend != "replay":
        check_model_folder(config.model_name_or_path)
    finished = evaluation_step(config)
    made_from = finished.made_from()
    # In a launch the processes of some backends do not join each other.
    if config.report_to == "none" and not is_launched() and say_if_finished(finished, made_from):
        return
    require_extra("eval", "Evaluation", "math_verify")
    from circuitseer_trl.distributed.only_writer import only_writer
    from circuitseer_trl.evaluation.answering.schedule import join_processes
    from circuitseer_trl.evaluation.run import evaluate
    from circuitseer_trl.pages.contamination_table import contamination_text
    from circuitseer_trl.pages.result_tables import results_table
    from circuitseer_trl.tracking import check_tracker, start_run

    check_tracker(config.report_to)
    join_processes(config.backend)
    with only_writer(config.output_dir):
        if config.report_to == "wandb":
            start_run("evaluate")
        results = evaluate(config)
        if results is not None:
            runs = {Path(config.output_dir).name: results}
            text = results_table(runs) + contamination_text(runs)
            for name, values in results["benchmarks"].items():
                if (number := values.get("num_disagreements")) is not None:
                    place = Path(config.output_dir) / "disagreements" / f"{name}.jsonl"
                    text += f"\n{config.second_grader} disagrees on {number} answers of {name}: {place}"
            print(text)
            finished.record(made_from, text, PRODUCTS)


if __name__ == "__main__":
    sys.exit(run_command(main))
