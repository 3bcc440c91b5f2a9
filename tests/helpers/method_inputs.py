"""What the tests of selection methods share: a recipe, the tiny model's chat prompt, and what a method cannot do without."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.sampling.base import Sampler, Selection
from circuitseer_trl.scoring.base import ScoreTable
from circuitseer_trl.selection.parts import make_parts
from circuitseer_trl.selection.steps import SelectionSteps
from tests.helpers.evaluation_folders import two_evaluations

SYSTEM = "Think."
HEADER = "<|im_start|>assistant\n"


def config(folder: Path, model: str, method: str, **values: object) -> SelectionConfig:
    defaults = {"reference_model": model, "budget_size": 3}
    return SelectionConfig(output_dir=str(folder), method=method, **(defaults | values))  # type: ignore[arg-type]


def select_rows(config: SelectionConfig, system_prompt: str, pool: Pool) -> Selection:
    return SelectionSteps.from_config(config, ChatSettings(system_prompt)).select(pool).selection


def compute_scores(config: SelectionConfig, system_prompt: str, pool: Pool) -> ScoreTable:
    return SelectionSteps.from_config(config, ChatSettings(system_prompt)).score(pool)


def named_sampler(sampling: str) -> Sampler:
    return make_parts(SelectionConfig("x", method="random", sampling=sampling)).sampler  # type: ignore[arg-type]


def pool_of(*examples: Example) -> Pool:
    """A pool of these rows."""
    rows = datasets.Dataset.from_list([asdict(example) for example in examples])
    return Pool(rows, datasets.Dataset.from_dict({"row": [], "reason": []}), rows, "examples")


def chat_prompt(problem: str, system: str = SYSTEM) -> str:
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{problem}<|im_end|>\n{HEADER}"


def write_verdicts(path: Path, rates: dict[str, list[bool]]) -> str:
    """Verdicts as `eval.run` writes them; a greedy answer says the contrary of the first sampled one."""
    lines = []
    for uid, marks in rates.items():
        line = {"id": uid, "greedy": False, "extracted": "1", "reason": "test"}
        lines.append(line | {"greedy": True, "sample": 0, "verdict": not marks[0]})
        lines += [line | {"sample": number, "verdict": mark} for number, mark in enumerate(marks)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def needed_args(method: str, pool: Pool, model: str, folder: Path) -> dict[str, Any] | None:
    """The `method_args` that a method cannot do without, on any pool; a new method's extra inputs come in here.

    Args:
        pool: The pool that is selected from.
        model: The reference model.
        folder: An empty folder for files.
    """
    if method == "rds":
        queries = folder / "queries.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        queries.write_text("".join(json.dumps({"problem": example.problem}) + "\n" for example in pool))
        return {"queries": str(queries)}
    if method in ("gradient_similarity", "circuit_gradient_similarity"):
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"problem": "What is 3 + 3?", "solution": "6"}, {"problem": "Halve 8.", "solution": "\\boxed{4}"}]
        (folder / "targets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"queries": str(folder / "targets.jsonl")}
    if method == "influence":
        return dict(two_evaluations(folder))
    if method == "infra":
        return {"evaluation": two_evaluations(folder)["after"], "level": "token", "difficulty": "score"}
    if method == "combine":
        for name in ("length", "trace_length"):
            compute_scores(config(folder / name, model, name), SYSTEM, pool)
        return {"folders": [str(folder / "length"), str(folder / "trace_length")]}
    if method == "pass_rate":
        rates = {uid: [row % 5 > 0, row % 5 > 2] for row, uid in enumerate(pool.uids)}
        return {"verdicts": write_verdicts(folder / "verdicts.jsonl", rates), "lowest": -1, "highest": 2}
    return None
