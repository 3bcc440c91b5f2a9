"""Writes a pool as a benchmark."""

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.pool_benchmark import PoolBenchmarkConfig, write_pool
from circuitseer_trl.recipe import parse_recipe


def main() -> None:
    pool_config, config = parse_recipe(
        PoolConfig, PoolBenchmarkConfig, prog="python -m eval.pool", description="Writes a pool as a benchmark."
    )
    path, written, left_out = write_pool(pool_config, config)
    print(f"{written} problems written to {path}; {left_out} without an answer left out.")
    print(
        f"Next: python -m eval.run --benchmarks {config.name} --benchmarks_dir {config.benchmarks_dir} --num_samples 8 ..."
    )


if __name__ == "__main__":
    main()
