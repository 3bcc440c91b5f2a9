"""A study on the tiny model: its pool, its benchmark and its file, and how it is run."""

import json
from pathlib import Path
from typing import Any

import yaml

from circuitseer_trl.digests import content_digest
from tests.conftest import PROBLEMS


def write_world(folder: Path, model: str) -> dict[str, Any]:
    """A pool of 24 rows and a benchmark of four problems. Returns the content of a study's file."""
    rows = [{"problem": f"{problem} ({n})", "solution": text} for n in range(2) for problem, text in PROBLEMS]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = folder / "benchmarks" / "word_problems"
    benchmark.mkdir(parents=True)
    problems = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(4)]
    (benchmark / "test.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    training = {"recipe": "tiny_cpu", "model_name_or_path": model, "max_steps": 2, "save_strategy": "no"}
    evaluation = {"benchmarks": ["word_problems"], "benchmarks_dir": str(folder / "benchmarks")}
    return {
        "data": {"dataset_name": str(folder / "pool.jsonl"), "system_prompt": "Think."},
        "sft": training,
        "eval": {**evaluation, "max_new_tokens": 4, "num_samples": 2},
        "selection": {"reference_model": model, "probe_size": 3, "budget_ratio": 0.5},
        "methods": ["random", {"method": "circuitseer", "name": "top", "sampling": "top_k"}],
        "seeds": [0, 1],
    }


def write_study(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def products(root: Path) -> dict[str, str]:
    """Digests of the files that must be the same however a study was run: selections, weights, answers and verdicts."""
    names = ("selection.parquet", "model.safetensors", "word_problems.jsonl")
    files = [path for path in sorted(root.rglob("*")) if path.name in names]
    return {str(path.relative_to(root)): content_digest(path) for path in files}
