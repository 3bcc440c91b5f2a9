"""Selects, trains, evaluates and reports, from four recipes; skips what is finished.

    circuitseer reproduce --data recipes/data/X.yaml --selection recipes/selection/circuitseer.yaml \
        --sft recipes/sft/Y.yaml --eval recipes/eval/paper.yaml --output_dir runs/x

Single keys are changed with the step's name in front: `--train.model_name_or_path M`, `--select.reference_model R`,
`--data.dataset_name D`, `--evaluate.limit 40`. Run it from a checkout: evaluation is not part of the installed package.
"""

import argparse
import os
import sys
from pathlib import Path

from circuitseer_trl.studies.reproduce import plan, read_overrides, run


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="circuitseer reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag, what in (("data", "data"), ("selection", "selection"), ("sft", "training"), ("eval", "evaluation")):
        result.add_argument(f"--{flag}", required=True, type=Path, metavar="RECIPE.yaml", help=f"The {what} recipe.")
    result.add_argument("--output_dir", required=True, type=Path, help="Folder of the run.")
    result.add_argument(
        "--accelerate_config", type=Path, help="Start the steps under `accelerate launch` with this file."
    )
    result.add_argument("--num_processes", type=int, help="Number of processes of that launch.")
    result.add_argument("--wandb_group", help="Log every step to Weights & Biases, as a run of this group.")
    return result


def main(arguments: list[str] | None = None) -> None:
    options, rest = parser().parse_known_args(arguments)
    steps = plan(options, read_overrides(rest))
    options.output_dir.mkdir(parents=True, exist_ok=True)
    if options.wandb_group:
        os.environ["WANDB_RUN_GROUP"] = options.wandb_group
    if status := run(steps, options.output_dir, options.accelerate_config, options.num_processes):
        sys.exit(status)


if __name__ == "__main__":
    main()
