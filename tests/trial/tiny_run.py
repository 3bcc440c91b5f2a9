"""A tiny finished run, made once: a pool, two models, a benchmark, a selection, a training and an evaluation."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.training_runs import PROBLEMS, make_model_folder
from tests.trial.outcomes import run

QUESTIONS = [("What is 1 plus 7?", "8"), ("What is 2 plus 4?", "6"), ("Double 8.", "16")]


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@dataclass(frozen=True)
class Place:
    """A folder for one case, and the words of commands that read good input in it, but for what the case changes.

    Attributes:
        folder: Empty at first.
        model: Of the reference, and of the target.
    """

    folder: Path
    model: Path
    pool: Path
    benchmarks: Path
    keys: dict[str, Any] = field(default_factory=dict)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def select(self, **changes: Any) -> list[object]:
        keys = {"dataset_name": self.pool, "reference_model": self.model, "output_dir": self.folder / "selection"}
        keys |= {"probe_size": 6, "budget_size": 8, "head_ratio": 0.25}
        return ["select-data", *flags(keys | changes)]

    def train(self, **changes: Any) -> list[object]:
        keys = {"dataset_name": self.pool, "model_name_or_path": self.model, "output_dir": self.folder / "model"}
        return ["train-sft", "--config", "tiny_cpu", *flags(keys | {"max_steps": 4, "save_steps": 2} | changes)]

    def evaluate(self, **changes: Any) -> list[object]:
        keys = {"model_name_or_path": self.model, "output_dir": self.folder / "evaluation", "benchmarks": "quiz"}
        keys |= {"benchmarks_dir": self.benchmarks, "max_new_tokens": 8, "num_samples": 2, "num_grading_workers": 1}
        return ["evaluate", *flags(keys | changes)]


def flags(keys: dict[str, Any]) -> list[object]:
    """The flags of keys with a value. A list is several words."""
    words: list[object] = []
    for key, value in keys.items():
        if value is not None:
            words += [f"--{key}", *(value if isinstance(value, list) else [value])]
    return words


def make_inputs(folder: Path, seed: int = 0) -> Place:
    """The inputs of a run in `folder`, which stay as they are."""
    model = make_model_folder(folder / "base", initializer_range=0.3, seed=seed)
    place = Place(folder, model, folder / "pool.jsonl", folder / "benchmarks")
    rows = [{"problem": problem, "solution": solution, "level": "3"} for problem, solution in PROBLEMS]
    place.write("pool.jsonl", jsonl(rows[seed:]))
    quiz = [{"problem": question, "answer": answer} for question, answer in QUESTIONS]
    place.write("benchmarks/quiz/test.jsonl", jsonl(quiz))
    return place


def finish(place: Place, **training: Any) -> None:
    """Runs all steps in the place's folder."""
    selection = place.folder / "selection" / "selection.parquet"
    evaluation = place.evaluate(model_name_or_path=place.folder / "model")
    for words in (place.select(), place.train(selection_file=selection, **training), evaluation):
        ended = run(words)
        assert ended.status == 0, (words, ended.errors, ended.log[-3000:])
