"""Selects, trains, evaluates and reports, from four recipes; skips what is finished.

    circuitseer reproduce --data gsm8k --selection circuitseer --sft qwen2.5-math-7b --eval paper --output_dir runs/x

A recipe is a YAML file, or a name that `circuitseer recipes` lists. To change a single key, put the step's name before it:
`--train.model_name_or_path M`, `--select.reference_model R`, `--data.dataset_name D`, `--evaluate.limit 40`.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command
from circuitseer_trl.extras import require_extra


def parser() -> CommandParser:
    result = CommandParser(prog="circuitseer reproduce", description=__doc__)
    for flag, what in (("data", "data"), ("selection", "selection"), ("sft", "training"), ("eval", "evaluation")):
        result.add_argument(f"--{flag}", required=True, metavar="RECIPE", help=f"The {what} recipe.")
    result.add_argument("--output_dir", required=True, type=Path, metavar="DIR", help="Folder of the run.")
    result.add_argument(
        "--accelerate_config",
        metavar="CONFIG",
        help="Start the steps with `accelerate launch` and this file or name (zero3, ddp, cpu).",
    )
    result.add_argument("--num_processes", type=int, metavar="N", help="Number of processes of that launch.")
    result.add_argument(
        "--wandb_group", metavar="NAME", help="Log every step to Weights & Biases, as a run of this group."
    )
    return result


def main(args: Sequence[str] | None = None) -> int:
    options, rest = parser().parse_known_args(args)
    from circuitseer_trl.locks import writing_to
    from circuitseer_trl.named_files import find_file
    from circuitseer_trl.studies.reproduce import check_processes, plan, processes_of, read_overrides, run
    from circuitseer_trl.yaml_files import read_yaml

    check_processes(options.num_processes, options.accelerate_config)
    if options.accelerate_config is not None:
        options.accelerate_config = find_file(options.accelerate_config, ("accelerate_configs",))
        if read_yaml(options.accelerate_config).get("distributed_type") == "DEEPSPEED":
            require_extra("train", str(options.accelerate_config), "deepspeed")
    tasks = plan(options, read_overrides(rest))
    require_extra("eval", "Evaluation", "math_verify")
    if options.wandb_group:
        require_extra("wandb", "`--wandb_group`", "wandb")
        os.environ["WANDB_RUN_GROUP"] = options.wandb_group
    with writing_to(options.output_dir, "steps"):  # the steps lock the folders of their own
        launch = (options.accelerate_config, options.num_processes)
        return run(tasks, options.output_dir, *launch, trained_by=processes_of(options))


if __name__ == "__main__":
    sys.exit(run_command(main))
