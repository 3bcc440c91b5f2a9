"""Cases written without sight of the grader (`blind_cases.md`): it does no worse on them than at its first try."""

import json
from pathlib import Path

from circuitseer_trl.grading import Grader, Question

CASES = Path(__file__).with_name("blind_cases.jsonl")


def test_no_worse_than_at_the_first_try():
    cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    with Grader(2) as grader:
        verdicts = grader.grade(
            [(case["response"], Question(case["gold"], case.get("choices"), case.get("question"))) for case in cases]
        )
    right = [verdict.correct for case, verdict in zip(cases, verdicts, strict=True) if case["correct"] is True]
    wrong = [verdict.correct for case, verdict in zip(cases, verdicts, strict=True) if case["correct"] is False]
    assert (len(right), len(wrong)) == (554, 615)
    assert sum(right) >= 474  # 85.6%
    assert sum(wrong) <= 16  # 2.6%
