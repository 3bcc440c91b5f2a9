"""Folders as an evaluation leaves them, made of verdicts."""

import json
import random
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import Sample
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.results import measure_average, measure_benchmark
from circuitseer_trl.grading.grader import Verdict


class Marks:
    """Stands in for the grader: the text of an answer is its verdict."""

    def grade(self, items: list) -> list[Verdict]:
        return [Verdict(text == "+", text, "mark") for text, _ in items]

    def classes(self, answers: list, verdicts: list, question: object) -> list:
        return answers


def write_run(
    folder: Path, benchmarks: dict[str, list[str]], settings: dict | None = None
) -> tuple[Path, dict[str, Any]]:
    """A run with one word a problem: `+` right, `-` wrong; the first is the greedy answer, unless it is `.`."""
    (folder / "verdicts").mkdir(parents=True)
    measured = {}
    for name, words in benchmarks.items():
        problems = [Problem(f"{name}-{number}", "?", "1", benchmark=name) for number in range(len(words))]
        samples = {}
        for problem, word in zip(problems, words, strict=True):
            for number, mark in enumerate(word):
                sample = Sample(problem.id, number == 0, max(0, number - 1), mark, 7, "stop", 0, "")
                samples[sample.key] = sample
        greedy, num_samples = words[0][0] != ".", len(words[0]) - 1
        result, lines = measure_benchmark(
            problems, samples, greedy=greedy, num_samples=num_samples, vote="classes", grader=Marks()
        )
        shuffled = lines.splitlines(keepends=True)
        random.Random(0).shuffle(shuffled)  # samples may stand in any order
        (folder / "verdicts" / f"{name}.jsonl").write_text("".join(shuffled))
        measured[name] = result | {"seconds": 2.0, "tokens_per_second": 700.0}
    results = {"model": "m", "settings": settings or {}, "benchmarks": measured, "average": measure_average(measured)}
    (folder / "results.json").write_text(json.dumps(results))
    return folder, results
