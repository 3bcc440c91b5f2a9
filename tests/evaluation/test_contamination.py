"""Contamination: cuts and overlaps worked out by hand, a model that knows a problem, and a run that is continued."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.contamination import measure_overlap
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.recited import CutProblem, common_subsequence, cut_problem, is_recited, rouge_l
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.pages.contamination_table import contamination_tables, contamination_text


@pytest.mark.parametrize(
    ("text", "start", "rest"),
    [
        ("one two six ten end", "one two six", " ten end"),  # 11.4 of 19 characters: after `six`
        ("one two sixteen end", "one two", " sixteen end"),  # 11.4 is within `sixteen`
        ("求一二三四五六七八九", "求一二三四五", "六七八九"),  # each character is a word
        ("  What is $1+1$ ?  ", "What is $", "1+1$ ?"),  # 9 of 15 characters
        ("word", None, None),
        ("abcdefgh i", None, None),  # the cut would be within the first word
    ],
)
def test_where_a_problem_is_cut(text: str, start: str | None, rest: str | None):
    found = cut_problem(text)
    assert found == (None if start is None else CutProblem(start, str(rest)))


@pytest.mark.parametrize(
    ("rest", "written", "recited"),
    [
        (" and 12?", " and  12? So it is 5.", True),
        (" and 12", " and 123", False),  # another number
        (" and 12", " and 12.", True),
        (" and 12?", " and 12", False),
        (" and 12?", " or 12?", False),
        ("六七", "六七八", False),  # the sentence goes on
    ],
)
def test_what_is_an_exact_match(rest: str, written: str, recited: bool):
    assert is_recited(rest, written) == recited


@pytest.mark.parametrize(
    ("rest", "written", "value"),
    [
        ("the cat sat down", "The cat sat down. And more of it", 1.0),  # the rest has four words: four are compared
        ("police killed the gunman", "police kill the gunman", 3 / 4),  # Lin's example: police, the, gunman
        ("police killed the gunman", "the gunman kill police", 2 / 4),  # his second: the gunman
        ("a b c d", "a", 2 / 5),  # recall 1/4 and precision 1
        ("a b", "", 0.0),
        ("长和宽", "长或宽", 2 / 3),
    ],
)
def test_rouge_l_by_hand(rest: str, written: str, value: float):
    assert rouge_l(rest, written) == pytest.approx(value)


def test_the_common_subsequence_by_trying_all():
    one, other = ["a", "b", "a", "c", "b", "d"], ["b", "a", "d", "b", "c"]
    chosen = ([word for place, word in enumerate(one) if mask >> place & 1] for mask in range(1 << len(one)))
    iterators = [(len(words), words) for words in chosen]

    def within(words: list[str]) -> bool:
        rest = iter(other)
        return all(word in rest for word in words)

    assert common_subsequence(one, other) == max(size for size, words in iterators if within(words))


def config(model: str, folder: Path, **changes: Any) -> EvaluationConfig:
    values: dict[str, Any] = {"benchmarks": ["quiz"], "num_samples": 0, "max_new_tokens": 4, "contamination": True}
    values |= {"model_name_or_path": model, "output_dir": str(folder / "out"), "dtype": "float32"}
    return EvaluationConfig(**values | {"benchmarks_dir": str(folder)} | changes)


@pytest.fixture
def quiz(tmp_path: Path, tiny_model: str) -> Path:
    """A benchmark whose second problem is what the tiny model writes by itself after a start, and whose third has one word."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    start = "A farmer has twelve red apples and gives away some of them to his old neighbour. How many"
    ids = torch.tensor([tokenizer(start)["input_ids"]])
    for _ in range(5):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    known = tokenizer.decode(ids[0], skip_special_tokens=True)
    rows = [{"problem": "What is the sum of 1 and 1 and 2?", "answer": "4"}, {"problem": known, "answer": "1"}]
    rows += [{"problem": "Why?", "answer": "1"}]
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_an_evaluation_with_contamination(quiz: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    pool = [
        {"problem": "So what is the SUM of 1, and 1; and 2 then?", "solution": "4"},
        {"problem": "B?", "solution": "2"},
    ]
    (quiz / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pool))
    named = {"dataset_name": str(quiz / "pool.jsonl"), "completion_column": "solution", "ngram_size": 5}
    evaluate(config(tiny_model, quiz, contamination=False))
    plain = read_json(quiz / "out" / "results.json")
    results = evaluate(config(tiny_model, quiz, contamination_pool=named))
    assert results is not None
    found = results["benchmarks"]["quiz"]
    lines = [json.loads(line) for line in (quiz / "out" / "contamination" / "quiz.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["quiz-0", "quiz-1"]  # one word cannot be cut
    assert (found["num_cut_problems"], found["rest_exact_match"]) == (2, 0.0)
    assert found["rest_exact_match_interval"][1] > 0.5
    assert (found["pool_overlap_ratio"], found["num_pool_rows"]) == (pytest.approx(1 / 3), 1)
    # The answers are those of the evaluation without it, and it is not asked again.
    assert found["verdicts_digest"] == plain["benchmarks"]["quiz"]["verdicts_digest"]
    monkeypatch.setattr("circuitseer_trl.evaluation.answering.backends.embedded.TransformersBackend.open", None)
    again = evaluate(config(tiny_model, quiz, contamination_pool=named))
    assert again is not None
    assert {k: v for k, v in again["benchmarks"]["quiz"].items() if k != "seconds"} == {
        k: v for k, v in found.items() if k != "seconds"
    }
    text = contamination_text({"out": again})
    assert "rest exact %" in text
    assert "33.3" in text
    assert contamination_tables({"out": plain}) == []


def test_a_rest_that_the_model_writes_is_an_exact_match(quiz: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    """The cut of the known problem is moved to where the model's own words begin."""

    def cut(text: str) -> CutProblem | None:
        start, found, rest = text.partition("How many")
        return CutProblem(start + found, rest) if found else None

    for place in ("contamination", "recited"):
        monkeypatch.setattr(f"circuitseer_trl.evaluation.{place}.cut_problem", cut)
    results = evaluate(config(tiny_model, quiz))
    assert results is not None
    found = results["benchmarks"]["quiz"]
    assert (found["num_cut_problems"], found["rest_exact_match"], found["rest_rouge_l"]) == (1, 1.0, 1.0)


def test_overlap_is_counted_for_each_benchmark(tmp_path: Path):
    rows = ["one two three four", "nine eight seven", "one two three nine"]
    lines = [json.dumps({"problem": text, "solution": "1"}) + "\n" for text in rows]
    (tmp_path / "pool.jsonl").write_text("".join(lines))
    pool = PoolConfig(str(tmp_path / "pool.jsonl"), completion_column="solution", ngram_size=3)
    questions = {"a": ["zero one two three", "two three four", "five"], "b": ["one three two four six"]}
    problems = {name: [Problem(text, text, "1") for text in texts] for name, texts in questions.items()}
    # Of a, the first shares `one two three` with rows 0 and 2, the second `two three four` with row 0.
    assert measure_overlap(pool, problems) == {
        "a": {"pool_overlap_ratio": 2 / 3, "num_pool_rows": 2},
        "b": {"pool_overlap_ratio": 0.0, "num_pool_rows": 0},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repetition_penalty": 1.05}, "`contamination` needs `repetition_penalty: 1`, got 1.05"),
        ({"preset": "paper"}, "`contamination` needs `repetition_penalty: 1`, got 1.05"),
        ({"backend": "replay", "replay_from": "x.jsonl", "dtype": "auto"}, "`contamination` needs the model"),
        ({"contamination_pool": "x"}, "`contamination_pool` must be a mapping with `dataset_name`, got 'x'"),
        ({"contamination_pool": {"dataset_name": "x", "colour": 1}}, "`contamination_pool` has no key `colour`"),
    ],
)
def test_settings_that_make_no_sense(quiz: Path, tiny_model: str, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        config(tiny_model, quiz, **changes)
