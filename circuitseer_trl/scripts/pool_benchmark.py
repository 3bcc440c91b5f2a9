"""Writes a pool as a benchmark, to measure how often a model solves each of its problems."""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.pool_benchmark import PoolBenchmarkConfig, write_pool
from circuitseer_trl.locks import writing_to
from circuitseer_trl.pool.file_names import check_dataset_file
from circuitseer_trl.recipe import parse_recipe


def main(args: Sequence[str] | None = None) -> None:
    pool_config, config = parse_recipe(
        *(PoolConfig, PoolBenchmarkConfig),
        args=args,
        prog="circuitseer pool-benchmark",
        description=__doc__,
        kinds=("data",),
    )
    check_dataset_file(pool_config.dataset_name)
    with writing_to(Path(config.benchmarks_dir) / config.name):
        path, written, left_out = write_pool(pool_config, config)
    print(f"{written} problems written to {path}; {left_out} without an answer left out.")
    print(
        f"Next: circuitseer evaluate --benchmarks {config.name} --benchmarks_dir {config.benchmarks_dir} --num_samples 8 ..."
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
