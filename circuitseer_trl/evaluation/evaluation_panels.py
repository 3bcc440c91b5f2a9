"""What does Weights & Biases show of an evaluation?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import wandb

from circuitseer_trl.answers import read_samples, read_verdict_lines
from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.results import RunResults

METRICS = (
    *("pass_at_1", "avg_at_n", "majority_at_n", "accuracy_finished"),
    *("truncated_ratio", "unanswered_ratio", "undecided_ratio", "timeout_ratio", "mean_tokens", "tokens_per_second"),
)
COLUMNS = ["benchmark", "id", "greedy", "sample", "verdict", "extracted", "gold", "reason", "num_tokens"]
MAX_ROWS = 200  # rows of each benchmark in the table; the artifact has all rows
MAX_TEXT = 2000  # characters of a problem, and of an answer's end, which has its result


def log_results(folder: str | Path, results: RunResults, benchmarks: Mapping[str, Sequence[Problem]]) -> None:
    """Logs an evaluation's folder to the current run; does nothing without a run."""
    run, folder = wandb.run, Path(folder)
    if run is None:
        return
    run.config.update({"evaluation": results["settings"]}, allow_val_change=True)
    for name, measured in [*results["benchmarks"].items(), ("average", results["average"])]:
        for metric in METRICS:
            if measured.get(metric) is not None:
                run.summary[f"eval/{name}/{metric}"] = measured[metric]
    run.log({"eval/samples": sample_table(folder, benchmarks)})

    digest = fingerprint([results["settings"], results["benchmarks"]])
    artifact = wandb.Artifact(f"evaluation-{digest}", type="evaluation", metadata={"settings": results["settings"]})
    artifact.add_file(str(folder / "results.json"))
    for kind in ("generations", "verdicts"):
        for name in results["benchmarks"]:
            artifact.add_file(str(folder / kind / f"{name}.jsonl"), name=f"{kind}/{name}.jsonl")
    run.log_artifact(artifact)


def sample_table(folder: Path, benchmarks: Mapping[str, Sequence[Problem]]) -> wandb.Table:
    """The first graded answers of every benchmark, with their problems."""
    table = wandb.Table(columns=[*COLUMNS, "problem", "answer"])
    for name, problems in benchmarks.items():
        by_id = {problem.id: problem for problem in problems}
        samples = read_samples(folder / "generations" / f"{name}.jsonl")
        for line in read_verdict_lines(folder / "verdicts" / f"{name}.jsonl")[:MAX_ROWS]:
            sample, problem = samples[line.key], by_id[line.id]
            row = asdict(line) | {"benchmark": name, "gold": problem.gold, "num_tokens": sample.num_tokens}
            texts = problem.question[:MAX_TEXT], sample.text[-MAX_TEXT:]
            table.add_data(*[row[column] for column in COLUMNS], *texts)
    return table
