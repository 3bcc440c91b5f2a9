"""Folders as an evaluation leaves them, of answers whose verdicts a test chooses."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import Sample, verdict_text
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.judging import judge_samples
from circuitseer_trl.evaluation.results import measure_average, measure_benchmark
from circuitseer_trl.grading.grader import Grader, Question, Verdict

QUESTIONS = [
    ("What is 3 + 3?", "3 + 3 = 6, so \\boxed{6}"),
    ("Ann has 5 pens and loses 2. How many are left?", "5 - 2 = 3.\n\\boxed{3}"),
    ("Double 8.", "\\boxed{16}"),
    ("Is 9 prime?", "Yes, it is: \\boxed{1}"),
    ("Find 4 times 6.", "4 * 6 = \\boxed{26}"),
    ("How many hours are in 2 days?", "2 * 24 = \\boxed{48}"),
]


def write_evaluation(folder: Path, verdicts: list[bool], benchmark: str = "word_problems") -> str:
    """An evaluation of the first questions with these verdicts; every answer has a greedy and a drawn sample."""
    lines: dict[str, list[dict]] = {"generations": [], "verdicts": []}
    for number, verdict in enumerate(verdicts):
        question, text = QUESTIONS[number]
        for greedy, shown in ((False, "A draw, which does not count."), (True, text)):
            key = {"id": f"{benchmark}-{number}", "greedy": greedy, "sample": 0}
            lines["generations"].append(key | {"text": shown, "num_tokens": 9, "finish_reason": "stop"})
            lines["verdicts"].append(key | {"verdict": verdict == greedy, "question": question, "reason": "test"})
    for name, rows in lines.items():
        (folder / name).mkdir(parents=True)
        (folder / name / f"{benchmark}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def two_evaluations(parent: Path) -> dict[str, str]:
    """Before and after a training that turned two problems right and two wrong; made once a folder."""
    folders = {"before": parent / "before", "after": parent / "after"}
    if not folders["before"].exists():
        write_evaluation(folders["before"], [False, True, False, True, True, True])
        write_evaluation(folders["after"], [True, True, True, False, False, True])
    return {name: str(folder) for name, folder in folders.items()}


class Marks(Grader):
    """Stands in for the grader: the text of an answer is its verdict, `+` or `-`."""

    def grade(self, items: Sequence[tuple[str, Question]]) -> list[Verdict]:
        return [Verdict(text == "+", text, "mark") for text, _ in items]

    def classes(
        self, answers: Sequence[str | None], verdicts: Sequence[Verdict], question: Question
    ) -> list[int | None]:
        return [int(verdict.correct) for verdict in verdicts]


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
        lines = judge_samples(problems, samples, greedy=greedy, num_samples=num_samples, vote="classes", grader=Marks())
        result = measure_benchmark(lines, samples, vote="classes")
        shuffled = verdict_text(lines).splitlines(keepends=True)
        random.Random(0).shuffle(shuffled)  # samples may stand in any order
        (folder / "verdicts" / f"{name}.jsonl").write_text("".join(shuffled))
        measured[name] = result | {"seconds": 2.0, "tokens_per_second": 700.0}
    results = {"model": "m", "settings": settings or {}, "benchmarks": measured, "average": measure_average(measured)}
    for result in measured.values():
        del result["pass_at_1_values"], result["majority_values"]
    (folder / "results.json").write_text(json.dumps(results))
    return folder, results
