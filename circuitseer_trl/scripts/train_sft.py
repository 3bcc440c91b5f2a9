"""Fine-tunes a model on a pool, or on a selection of it.

    circuitseer train-sft --config openr1-math --config qwen2.5-math-7b \\
        --selection_file runs/x/selection.parquet --output_dir runs/x/model
    accelerate launch --config_file accelerate_configs/zero3.yaml -m circuitseer_trl.scripts.train_sft --config ...
"""

import logging
import os
import sys
from collections.abc import Sequence

from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed.finishing import is_launched, say_if_finished
from circuitseer_trl.training.finished_training import training_products, training_step
from circuitseer_trl.training.training_keys import read_training_keys


def main(args: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    finished = training_step(sys.argv[1:] if args is None else args)
    made_from = finished.made_from()
    # In a launch, training itself finds out: the ranks must not join each other before TRL's classes set up the engine.
    if not is_launched() and say_if_finished(finished, made_from):
        return
    by_launch = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("1", "true")
    if by_launch or finished.settings.get("deepspeed"):
        from circuitseer_trl.training.compile_locks import check_compile_locks

        check_compile_locks()  # an SFTConfig already starts DeepSpeed

    pool_config, config, training_args, model_config = read_training_keys(args, __doc__)
    from circuitseer_trl.distributed.only_writer import only_writer
    from circuitseer_trl.training.run import run_training

    with only_writer(str(training_args.output_dir)):
        folder = run_training(pool_config, training_args, model_config, config)
        # On rank 0 alone, which knows what it was made from: the trainer has ended the process group.
        finished.record(made_from, f"{folder} is finished with these settings.", training_products(folder))


if __name__ == "__main__":
    sys.exit(run_command(main))
