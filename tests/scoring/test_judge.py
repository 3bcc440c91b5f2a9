"""Ratings by a model, Quality and Select2Reason, against the model's own probabilities and answers."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.combination import JointRank
from circuitseer_trl.scoring.difficulty import DIFFICULTY_PROMPT, DifficultyScorer
from circuitseer_trl.scoring.judge import label_ids
from circuitseer_trl.scoring.quality import QUALITY_PROMPT, QualityScorer
from circuitseer_trl.scoring.rating import greedy_answers, read_rating
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import HEADER, SYSTEM, chat_prompt, compute_scores, config, pool_of, select_rows

pytestmark = pytest.mark.thorough


def next_token_probabilities(reference: Reference, prompt: str, labels: str) -> list[float]:
    ids = reference.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    chances = reference.model()(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
    return [chances[reference.tokenizer(label, add_special_tokens=False)["input_ids"][0]].item() for label in labels]


def test_quality_is_the_expectation_of_the_rating(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    table = compute_scores(config(tmp_path, tiny_model, "quality"), SYSTEM, pool).table.to_pylist()
    for example, row in zip(pool, table, strict=True):
        text = f"Problem:\n{example.problem}\n\nSolution:\n{example.completion}"
        chances = next_token_probabilities(reference, chat_prompt(text, QUALITY_PROMPT), "12345")
        assert row["valid_mass"] == pytest.approx(sum(chances), rel=1e-4)
        mean = sum(value * chance for value, chance in zip(range(1, 6), chances, strict=True)) / sum(chances)
        assert row["score"] == pytest.approx(mean, rel=1e-5)


def test_the_prompt_is_a_parameter_and_its_end_survives_truncation(tmp_path: Path, tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    long = type(example)(0, "long", example.problem, example.completion * 20)
    reference = Reference(tiny_model, max_length=120)
    ids, truncated = QualityScorer(prompt="Rate it.").bind(pool_of(long), reference, None, tmp_path).encode(long)
    text = reference.tokenizer.decode(ids)
    assert truncated
    assert len(ids) == 120
    assert text.startswith("<|im_start|>system\nRate it.<|im_end|>")
    assert text.endswith(f"<|im_end|>\n{HEADER}")
    with pytest.raises(ValueError, match="`prompt` must be a text that asks for a rating"):
        QualityScorer(prompt=" ")


def test_labels_must_be_single_tokens(tiny_model: str):
    tokenizer = Reference(tiny_model).tokenizer
    with pytest.raises(ValueError, match=r"The label '1x1' is \d tokens"):
        label_ids(tokenizer, ["1", "1x1"])
    with pytest.raises(ValueError, match="are the same token"):
        label_ids(tokenizer, ["1", "1"])


def test_select2reason_by_hand(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    selection = select_rows(config(tmp_path, tiny_model, "select2reason"), SYSTEM, pool)
    rows = read_table(tmp_path / "scores").to_pylist()
    difficulty, length = [], []
    for example, row in zip(pool, rows, strict=True):
        no, yes = next_token_probabilities(reference, chat_prompt(example.problem, DIFFICULTY_PROMPT), "01")
        assert row["score"] == pytest.approx(yes / (no + yes), rel=1e-4)
        assert row["trace_length"] == len(reference.tokenizer(example.completion)["input_ids"])
        difficulty.append(row["score"])
        length.append(row["trace_length"])

    def rank(values: list[float], value: float) -> float:  # from 1, the highest first; equal values share
        return sum(other > value for other in values) + (values.count(value) + 1) / 2

    joint = [0.25 * rank(difficulty, d) + 0.75 * rank(length, n) for d, n in zip(difficulty, length, strict=True)]
    best = sorted(range(12), key=lambda index: (joint[index], pool.uids[index]))[:3]
    assert selection.rows.tolist() == best
    card = read_json(tmp_path / "selection.json")
    assert card["combination"] == {"difficulty_weight": 0.25, "difficulty": "judge"}


def test_joint_rank_worked_out():
    # Ranks from the best: difficulty 3, 1, 2; length 1, 2.5, 2.5. Joint 1.5, 2.125, 2.375.
    table = pa.table({"score": [0.1, 0.9, 0.5, None], "trace_length": [9, 4, 4, 7]})
    scores = JointRank().combine(table, None)
    assert np.argsort(-scores[:3]).tolist() == [0, 1, 2]
    assert np.isnan(scores[3])
    assert scores[:3] == pytest.approx([(3.5 - rank) / 3 for rank in (1.5, 2.125, 2.375)])
    by_column = JointRank(difficulty_weight=1.0, difficulty="column").combine(table, np.array([1.0, 2.0, 3.0, 4.0]))
    assert np.argsort(by_column).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="Set `difficulty_column`"):
        JointRank(difficulty="column").combine(table, None)
    for bad in (1.5, True, "a"):
        with pytest.raises(ValueError, match=r"must be a number in \[0, 1\]"):
            JointRank(difficulty_weight=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="judge, column, verdicts"):
        JointRank(difficulty="x")  # type: ignore[arg-type]


def test_a_difficulty_column_takes_the_place_of_the_judge(tmp_path: Path, tiny_model: str, pool_file: str):
    rows = [
        json.loads(line) | {"level": f"Level {place % 5}"}
        for place, line in enumerate(Path(pool_file).read_text().splitlines())
    ]
    path = tmp_path / "levels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"difficulty": "column", "difficulty_weight": 1.0}
    settings = config(tmp_path / "run", tiny_model, "select2reason", budget_size=2, method_args=options)
    chosen = select_rows(settings, SYSTEM, load_pool(str(path), difficulty_column="level"))
    assert sorted(chosen.rows.tolist()) == [4, 9]
    assert set(read_table(tmp_path / "run" / "scores")["score"].to_pylist()) == {None}


def test_repeated_steps_count_once(tmp_path: Path, tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    looping = type(example)(0, "loop", example.problem, "One.\n\nTwo.\n\nOne.\n\nOne.")
    reference = Reference(tiny_model)
    scorer = DifficultyScorer(deduplicate_steps=True).bind(pool_of(looping), reference, None, tmp_path)
    [row] = scorer.score_batch([looping])
    assert row["trace_length"] == len(reference.tokenizer("One.\n\nTwo.")["input_ids"])


RATINGS = [
    ("4", 4),
    (" 4.\n", 4),
    ("**4**", 4),
    ("4/5", 4),
    ("4 out of 5", 4),
    ("Rating: 4", 4),
    ("The rating is 3.", 3),
    ("Quality: 5/5, since all is clear.", 5),
    ("I would rate this pair as a 2.", 2),
    ("My rating: 4. Overall rating: 4", 4),
    ("", None),
    ("0", None),
    ("6", None),
    ("45", None),
    ("4.5", None),
    ("4/10", None),
    ("Rating: 14", None),
    ("Rating: 4 out of 10", None),
    ("The rating is 4. Rating: 3", None),
    ("Step 1: add 3 and 2.", None),
    ("The answer is \\boxed{5}", None),  # of the problem, most likely
    ("He scored 3 goals at a rate of 2 an hour.", None),
]


@pytest.mark.parametrize(("answer", "rating"), RATINGS, ids=[repr(answer) for answer, _ in RATINGS])
def test_ratings_are_read_and_none_is_made_up(answer: str, rating: int | None):
    assert read_rating(answer) == rating


def test_a_written_answer_is_the_likeliest_token_each_time(tiny_model: str, pool_file: str):
    """Against one forward a token, alone and without padding; a repetition penalty of the model's own has no part in it."""
    reference = Reference(tiny_model)
    model, tokenizer = reference.model(for_scores=True), reference.tokenizer
    model.generation_config.repetition_penalty = 1.5
    prompts = [tokenizer(chat_prompt(example.problem))["input_ids"] for example in load_pool(pool_file)]
    answers = greedy_answers(model, tokenizer, prompts, 6, 300)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids: list[int] = []
        while len(ids) < 6 and (not ids or ids[-1] != tokenizer.eos_token_id):
            ids.append(int(model(torch.tensor([prompt + ids])).logits[0, -1].argmax()))
        assert answer == tokenizer.decode(ids, skip_special_tokens=True)
    assert len(set(answers)) > 1


def test_rows_whose_answer_has_no_rating_are_counted(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    texts = ["5", "I rate it 2", "no idea", *["3"] * 9]
    written = iter(texts)
    monkeypatch.setattr(
        "circuitseer_trl.scoring.quality.greedy_answers",
        lambda model, tokenizer, prompts, *_: [next(written) for _ in prompts],
    )
    pool, options = load_pool(pool_file), {"mode": "generate"}
    chosen = select_rows(config(tmp_path, tiny_model, "quality", method_args=options), SYSTEM, pool)
    rows = read_table(tmp_path / "scores").to_pylist()
    assert [row["answer"] for row in rows] == texts
    assert [row["score"] for row in rows] == [5, 2, None, *[3] * 9]
    assert rows[2]["status"] == "no_rating"
    assert read_json(tmp_path / "scores.json")["counts"] == {"no_rating": 1, "ok": 11}
    assert chosen.rows[0] == 0
    assert 2 not in chosen.rows


def test_the_written_rating_with_a_real_model(tmp_path: Path, tiny_model: str, pool_file: str):
    """A random model rates nothing: no row gets a score, and the selection says so instead of choosing."""
    pool, options = load_pool(pool_file), {"mode": "generate", "max_new_tokens": 4}
    with pytest.raises(ValueError, match="Cannot choose 3 examples: only 0 of 12 have a score"):
        select_rows(config(tmp_path, tiny_model, "quality", method_args=options), SYSTEM, pool)
    assert read_json(tmp_path / "scores.json")["counts"] == {"no_rating": 12}
    for arguments, message in [
        ({"mode": "guess"}, "one of expectation, generate"),
        ({"max_new_tokens": 0}, "at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method="quality", method_args=arguments)
