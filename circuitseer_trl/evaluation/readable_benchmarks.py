"""Reads the benchmarks of an evaluation and checks their rows, in a process of its own: a run does it before its first step.

python -m circuitseer_trl.evaluation.readable_benchmarks --config RECIPE ... --KEY VALUE
"""

import sys
from collections.abc import Sequence

from circuitseer_trl.command_line import run_command
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.recipe import parse_recipe


def main(args: Sequence[str] | None = None) -> None:
    config = parse_recipe(EvaluationConfig, args=args, prog="circuitseer evaluate", kinds=("eval",))
    config.check_files()
    for name in config.benchmarks:
        load_benchmark(name, config.benchmarks_dir)  # from the Hub it is downloaded, and the evaluation finds it there


if __name__ == "__main__":
    sys.exit(run_command(main))
