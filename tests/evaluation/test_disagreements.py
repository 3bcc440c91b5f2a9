"""A second grader: its disagreements are listed with both verdicts and the rule, and it can neither hang nor change a verdict."""

import json
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.grading.second_opinion import Opinion, second_opinions
from circuitseer_trl.scripts.grade import main as grade

# Math-Verify reads 1 here: it drops i.
REFERENCE, ANSWER = r"1-\mathrm{i}", "1"


def test_what_math_verify_says():
    pairs = [("$\\frac12$", "0.5"), ("2", "3"), (REFERENCE, ANSWER), ("2", "3"), ("", ""), ("1", "9^{9^{9^{9^9}}}")]
    found = second_opinions(pairs, 1, timeout=0.5)
    assert found[:4] == [Opinion(each, "math_verify") for each in (True, False, True, False)]
    assert found[4].verdict is None
    assert found[5].verdict in (None, False)  # its process is killed, or its own bounds stop it


def test_grade_writes_them_beside_its_output(tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = [{"id": n, "response": rf"\boxed{{{answer}}}", "gold": REFERENCE} for n, answer in enumerate((ANSWER, "5"))]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    grade([*paths, "--second_grader", "math_verify", "--num_workers", "1"])
    [line] = [json.loads(line) for line in (tmp_path / "out.disagreements.jsonl").read_text().splitlines()]
    ours = {"gold": REFERENCE, "extracted": ANSWER, "verdict": False, "reason": "value", "undecided": False}
    assert line == {"id": 0, **ours, "math_verify": True}
    assert f"math_verify disagrees on 1: {tmp_path / 'out.disagreements.jsonl'}" in capsys.readouterr().out
    assert [json.loads(line)["verdict"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [False, False]


def test_an_evaluation_lists_and_counts_them(tmp_path: Path, tiny_model: str):
    (tmp_path / "quiz").mkdir()
    rows = [{"problem": "a", "answer": REFERENCE}, {"problem": "b", "answer": "7"}]
    (tmp_path / "quiz" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"id": f"quiz-{n}", "text": rf"\boxed{{{ANSWER}}}"} for n in range(2)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))

    def config(**changes: str) -> EvaluationConfig:
        return EvaluationConfig(
            **{"model_name_or_path": "someone", "output_dir": str(tmp_path / "out"), "backend": "replay"},
            **{"replay_from": str(tmp_path / "answers.jsonl"), "benchmarks_dir": str(tmp_path), "num_samples": 0},
            **{"benchmarks": ["quiz"], "num_grading_workers": 1, **changes},
        )

    results = evaluate(config(second_grader="math_verify"))
    assert results is not None
    found, path = results["benchmarks"]["quiz"], tmp_path / "out" / "disagreements" / "quiz.jsonl"
    assert (found["pass_at_1"], found["num_disagreements"], found["num_second_silent"]) == (0.0, 1, 0)
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["id"], line["greedy"], line["verdict"], line["math_verify"]) == ("quiz-0", True, False, True)
    evaluate(config())
    assert not path.exists()
    with pytest.raises(ValueError, match="`second_grader` must be one of math_verify, got 'prime'"):
        config(second_grader="prime")
