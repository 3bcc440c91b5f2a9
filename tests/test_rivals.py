"""The rival methods: each score against an independent second way."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits.probe import hardest
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.data import load_pool
from circuitseer_trl.models import Reference
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.scoring.combine import JointRank
from circuitseer_trl.scoring.ifd import IFDScorer, answer_header
from circuitseer_trl.scoring.judge import (
    DIFFICULTY_PROMPT,
    QUALITY_PROMPT,
    DifficultyScorer,
    QualityScorer,
    label_ids,
)
from circuitseer_trl.scoring.max_loss import MaxLossScorer
from circuitseer_trl.scoring.rds import mean_hidden_states
from circuitseer_trl.selection.selector import CircuitSeerDataSelector, compute_scores, select_rows

pytestmark = pytest.mark.thorough

SYSTEM = "Think."
HEADER = "<|im_start|>assistant\n"


def config(folder: Path, model: str, method: str, **values: object) -> SelectionConfig:
    defaults = {"reference_model": model, "budget_size": 3}
    return SelectionConfig(output_dir=str(folder), method=method, **(defaults | values))  # type: ignore[arg-type]


def plain_loss(reference: Reference, prompt: str, answer: str, max_answer: int | None = None) -> float:
    """Mean loss of an answer after a prompt, from the model's own logits."""
    first, rest = (reference.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    rest = rest[:max_answer]
    logits = reference.model()(torch.tensor([first + rest])).logits[0, len(first) - 1 : -1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(rest)).item()


def chat_prompt(problem: str, system: str = SYSTEM) -> str:
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{problem}<|im_end|>\n{HEADER}"


def test_max_loss_is_the_mean_loss_of_the_models_own_logits(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    selection = select_rows(config(tmp_path, tiny_model, "max_loss"), SYSTEM, pool)
    for example, row in zip(pool, read_table(tmp_path / "scores").to_pylist(), strict=True):
        assert row["score"] == pytest.approx(plain_loss(reference, chat_prompt(example.problem), example.completion))
        assert row["num_tokens"] == len(reference.tokenizer(example.completion)["input_ids"])
    # The stored pass is the probe's, and the choice is the probe's.
    assert selection.rows.tolist() == hardest(read_table(tmp_path / "losses"), 3).tolist()


def test_the_loss_pass_is_shared(tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    pool = load_pool(pool_file)
    compute_scores(config(tmp_path / "a", tiny_model, "circuitseer", probe_size=3), SYSTEM, pool)
    (tmp_path / "b").mkdir()
    for name in ("losses", "losses.manifest.json"):
        (tmp_path / "a" / name).rename(tmp_path / "b" / name)
    monkeypatch.setattr("circuitseer_trl.circuits.probe.response_losses", None)  # to call it would fail
    compute_scores(config(tmp_path / "b", tiny_model, "max_loss"), SYSTEM, pool)
    with pytest.raises(ValueError, match="holds results of other inputs"):
        compute_scores(config(tmp_path / "b", tiny_model, "max_loss"), "Another prompt.", pool)


def test_ifd_is_the_ratio_of_losses_of_the_same_tokens(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    compute_scores(config(tmp_path, tiny_model, "ifd"), SYSTEM, pool)
    table = read_table(tmp_path / "scores").to_pylist()
    for example, row in zip(pool, table, strict=True):
        with_problem = plain_loss(reference, chat_prompt(example.problem), example.completion)
        ratio = with_problem / plain_loss(reference, HEADER, example.completion)
        assert row["ifd"] == pytest.approx(ratio)
        assert row["status"] == ("ok" if ratio <= 1 else "above_max")
        assert row["score"] == (pytest.approx(ratio) if ratio <= 1 else None)
    card = read_json(tmp_path / "scores.json")
    above = sum(row["ifd"] > 1 for row in table)
    assert 0 < above < 12
    assert card["ifd"]["num_above_max"] == card["counts"]["above_max"] == above
    assert card["ifd"]["quantiles"]["1"] == max(row["ifd"] for row in table)
    assert card["ifd"]["interquartile_range"] > 0


def test_truncation_leaves_ifd_the_same_tokens_on_both_sides(tiny_model: str, pool_file: str):
    example = max(load_pool(pool_file), key=lambda item: len(item.completion))
    long = example.completion * 5
    reference = Reference(tiny_model, max_length=100)
    [row] = IFDScorer(max_ifd=None, system_prompt=SYSTEM).score_batch(
        [type(example)(0, "long", example.problem, long)], reference, None
    )
    left = 100 - len(reference.tokenizer(chat_prompt(example.problem), add_special_tokens=False)["input_ids"])
    assert row["status"] == "truncated"
    assert row["num_tokens"] == left
    expected = plain_loss(reference, chat_prompt(example.problem), long, left) / plain_loss(
        reference, HEADER, long, left
    )
    assert row["score"] == pytest.approx(expected)


def test_a_row_with_hardly_any_solution_left_has_no_loss_score(tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    width = len(Reference(tiny_model).tokenizer(chat_prompt(example.problem), add_special_tokens=False)["input_ids"])
    for scorer in (MaxLossScorer(system_prompt=SYSTEM), IFDScorer(system_prompt=SYSTEM)):
        for left in (0, 3):
            [row] = scorer.score_batch([example], Reference(tiny_model, max_length=width + left), None)
            assert row["status"] == "truncated"
            assert row["score"] is None


def test_headers_before_a_solution_without_its_problem(tiny_model: str):
    tokenizer = Reference(tiny_model).tokenizer
    assert tokenizer.decode(answer_header(tokenizer, "chat")) == HEADER
    assert tokenizer.decode(answer_header(tokenizer, "plain")) == "\n"
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(ValueError, match="has no assistant's header apart from the prompt"):
        answer_header(tokenizer, "chat")


def test_bad_values_of_ifd_are_refused():
    with pytest.raises(ValueError, match="`max_ifd` must be a number above 0 or none, got -1"):
        IFDScorer(max_ifd=-1)


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


def test_the_prompt_is_a_parameter_and_its_end_survives_truncation(tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    long = type(example)(0, "long", example.problem, example.completion * 20)
    reference = Reference(tiny_model, max_length=120)
    ids, truncated = QualityScorer(prompt="Rate it.").encode(long, reference)
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


def test_repeated_steps_count_once(tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    looping = type(example)(0, "loop", example.problem, "One.\n\nTwo.\n\nOne.\n\nOne.")
    reference = Reference(tiny_model)
    [row] = DifficultyScorer(deduplicate_steps=True).score_batch([looping], reference, None)
    assert row["trace_length"] == len(reference.tokenizer("One.\n\nTwo.")["input_ids"])


def test_rds_against_a_plain_loop(tmp_path: Path, tiny_model: str, pool_file: str):
    queries = tmp_path / "queries.jsonl"
    texts = ["How many apples are left?", "Find the sum of 3 and 9.", "Is 9 prime?"]
    queries.write_text("".join(json.dumps({"problem": text}) + "\n" for text in texts))
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    options = {"queries": str(queries)}
    chosen = select_rows(config(tmp_path / "run", tiny_model, "rds", budget_size=7, method_args=options), SYSTEM, pool)

    def state(text: str) -> torch.Tensor:
        ids = torch.tensor([reference.tokenizer(text)["input_ids"]])
        return reference.model()(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)

    nearness = [
        [torch.cosine_similarity(state(query), state(example.problem), dim=0).item() for query in texts]
        for example in pool
    ]
    table = read_table(tmp_path / "run" / "scores").to_pylist()
    for row, expected in zip(table, nearness, strict=True):
        assert row["similarities"] == pytest.approx(expected, rel=1e-4)
        assert row["score"] == max(row["similarities"])
    taken: list[int] = []
    for turn in range(7):
        free = [row for row in range(12) if row not in taken]
        taken.append(max(free, key=lambda row: nearness[row][turn % 3]))
    assert chosen.rows.tolist() == taken


def test_weighted_states_count_later_tokens_more(tiny_model: str):
    reference = Reference(tiny_model)
    ids = reference.tokenizer("Halve 18.")["input_ids"]
    states = reference.model()(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].double().numpy()
    expected = sum((place + 1) * row for place, row in enumerate(states))
    [found] = mean_hidden_states(reference, [ids], "weighted", 100)
    assert found == pytest.approx(expected / np.linalg.norm(expected), rel=1e-4)


def test_bad_queries_are_refused_before_any_work(tmp_path: Path, tiny_model: str, pool_file: str):
    (tmp_path / "blank.jsonl").write_text('{"problem": " "}\n')
    for arguments, message in [
        (None, "needs target problems"),
        ({"queries": pool_file, "query_column": "text"}, "no column 'text'"),
        ({"queries": pool_file, "pooling": "max"}, "must be one of mean, weighted"),
        ({"queries": str(tmp_path / "blank.jsonl")}, "have no text"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method="rds", method_args=arguments)
    with pytest.raises(FileNotFoundError, match="There is no dataset file"):
        CircuitSeerDataSelector(tiny_model, method="rds", method_args={"queries": "./none.jsonl"})
    with pytest.raises(ValueError, match="needs the column 'similarities'"):
        select_rows(config(tmp_path, tiny_model, "random", sampling="round_robin"), SYSTEM, load_pool(pool_file))


def test_method_args_reach_scorer_combination_and_sampler(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file, category_column="topic")
    options = {"deduplicate_steps": True, "difficulty_weight": 0.5, "allocation": "proportional"}
    settings = config(tmp_path, tiny_model, "select2reason", method_args=options, sampling="stratified")
    select_rows(settings, SYSTEM, pool)
    card = read_json(tmp_path / "selection.json")
    assert card["scores"]["parameters"]["deduplicate_steps"] is True
    assert card["combination"]["difficulty_weight"] == 0.5
    assert card["sampler"]["allocation"] == "proportional"


def test_method_args_are_checked_before_any_work(tmp_path: Path, tiny_model: str):
    for method, arguments, message in [
        ("ifd", {"max_idf": 1}, "no key 'max_idf' for this method. Did you mean `max_ifd`"),
        ("length", {"length_of": "solution"}, "no key 'length_of'"),
        ("random", {"inverse": True}, "Keys are none"),
        ("diversity", {"allocation": "fair"}, "must be one of equal, proportional, s1, got 'fair'"),
        ("select2reason", {"difficulty_weight": 2}, r"in \[0, 1\], got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method=method, method_args=arguments)
    with pytest.raises(ValueError, match="must be JSON"):
        SelectionConfig(output_dir="x", method_args="{max_ifd")
    with pytest.raises(ValueError, match="must be a mapping of names to values, got 3"):
        SelectionConfig(output_dir="x", method_args="3")
    line = ["--output_dir", "x", "--method", "ifd", "--method_args", '{"max_ifd": 1.2}']
    assert parse_recipe(SelectionConfig, args=line).method_args == {"max_ifd": 1.2}


def test_diversity_takes_as_many_of_every_topic(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file, category_column="topic")
    # Seven stories, four sums, one prime: water-filling gives the prime's rest to the others.
    select_rows(config(tmp_path, tiny_model, "diversity", budget_size=7), SYSTEM, pool)
    categories = read_json(tmp_path / "selection.json")["categories"]
    assert {name: counts["selected"] for name, counts in categories.items()} == {"prime": 1, "story": 3, "sum": 3}


def test_diversity_needs_categories_or_the_extra(tmp_path: Path, tiny_model: str, pool_file: str):
    with pytest.raises(ValueError, match=r"This pool has no categories\. Set `category_column`, or `method_args"):
        select_rows(config(tmp_path, tiny_model, "diversity"), SYSTEM, load_pool(pool_file))
    with pytest.raises(ValueError, match=r"needs the column 'category'.*Set `category_column`"):
        select_rows(config(tmp_path, tiny_model, "random", sampling="stratified"), SYSTEM, load_pool(pool_file))


def test_an_extra_that_is_missing_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("circuitseer_trl.scoring.category.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[diversity\]'"):
        CircuitSeerDataSelector(method="diversity", method_args={"num_clusters": 3})


def test_clusters_take_the_place_of_a_column(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    """Around the two calls of the extra's libraries, which are stood in for."""
    monkeypatch.setattr("circuitseer_trl.scoring.category.find_spec", lambda name: name)
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.embed", lambda texts, model: np.array([[len(text) > 40] for text in texts])
    )
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.cluster", lambda vectors, number, seed: vectors[:, 0].astype(int).tolist()
    )
    pool = load_pool(pool_file)
    settings = config(tmp_path, tiny_model, "diversity", budget_size=4, method_args={"num_clusters": 2})
    chosen = select_rows(settings, SYSTEM, pool)
    assert sum(len(pool[row].problem) > 40 for row in chosen.rows.tolist()) == 2
    settings = config(tmp_path / "many", tiny_model, "diversity", method_args={"num_clusters": 13})
    with pytest.raises(ValueError, match="has only 12 usable rows"):
        select_rows(settings, SYSTEM, pool)
