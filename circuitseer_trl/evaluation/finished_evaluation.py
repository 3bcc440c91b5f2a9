"""What do the results of an evaluation depend on?"""

from dataclasses import asdict

from circuitseer_trl.evaluation.benchmark_files import benchmark_specs, rows_file
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.finished import FinishedStep

PRODUCTS = ("settings.json", "results.json", "generations", "verdicts", "held_out", "contamination", "disagreements")


def evaluation_step(config: EvaluationConfig) -> FinishedStep:
    """The step, with what its results depend on: the model, and each benchmark's rows and file."""
    local = [str(rows_file(name, config.benchmarks_dir) or "") for name in config.benchmarks]  # "" is on the Hub
    described = [str(path) for name, path in benchmark_specs().items() if name in config.benchmarks]
    model = None if config.backend == "replay" else config.model_name_or_path
    rows = [each["dataset_name"] for each in (config.held_out, config.contamination_pool) if each is not None]
    inputs = [config.replay_from, config.base_url, described]
    return FinishedStep("evaluate", config.output_dir, asdict(config), [model, *local, *rows], inputs)
