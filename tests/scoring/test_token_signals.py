"""HES, ASLEC and RSR: against the model's own logits in float64, by hand, and where they are not defined."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import entropy, spearmanr

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.modeling.predictions import TokenPrediction, token_predictions
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.token_statistics import TokenSettings, row_statistics
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.pool.solution_steps import first_tokens, num_steps, step_of_tokens, step_starts
from circuitseer_trl.scoring.aslec import ASLECScorer, StepLengthCorrection, casl_fit
from circuitseer_trl.scoring.hes import HESScorer
from circuitseer_trl.scoring.rsr import RSRScorer
from tests.helpers.method_inputs import SYSTEM, compute_scores, config, pool_of


@pytest.mark.parametrize(
    ("text", "rule", "starts"),
    [
        ("ab\ncd\n\n ef\n", "lines", [0, 3, 8]),
        ("It is 3.5 m. So? Yes!", "sentences", [0, 13, 17]),
        ("One.\nTwo.", "sentences", [0, 5]),
        ("a\nb\n\n c", "paragraphs", [0, 6]),
        ("no end", "sentences", [0]),
        ("", "lines", []),
        (" \n ", "lines", []),
    ],
)
def test_steps_by_hand(text: str, rule: str, starts: list[int]):
    assert step_starts(text, rule) == starts  # type: ignore[arg-type]


def test_first_tokens_hold_the_first_characters():
    # ab|\n|cd|\nef: the last token begins with the line break, and holds the first character of a step.
    offsets = [(0, 2), (2, 3), (3, 5), (5, 8)]
    assert first_tokens(offsets, step_starts("ab\ncd\nef")) == [0, 2, 3]
    assert first_tokens(offsets, step_starts("ab\ncd\nef"), num_first=2) == [0, 1, 2, 3]
    assert first_tokens(offsets[:2], [0]) == [0]
    assert step_of_tokens(offsets, step_starts("ab\ncd\nef")) == [1, 1, 2, 3]
    # White space before the first step, and a token without characters after the last.
    assert step_of_tokens([(0, 1), (1, 3), (3, 3)], step_starts(" ab")) == [1, 1, 1]


def test_row_statistics_by_hand():
    losses, entropies = torch.tensor([1.0, 2.0, 4.0, 1.0]), torch.tensor([0.5, 3.0, 0.25, 2.0])
    found = row_statistics(
        TokenPrediction(losses, entropies, torch.tensor([1, 500, 3, 7])), [0, 2], TokenSettings(entropy_share=0.3)
    )
    assert found == {
        "loss_nats": 2.0,
        "entropy_nats": 5.75,
        "top_entropy_nats": 5.0,  # of two of four tokens: 0.3 x 4 is rounded up
        "num_top": 2,
        "rank_sum": 1 + 100 + 3 + 7,
        "first_loss_nats": 5.0,
        "num_first": 2,
    }
    everything = row_statistics(
        TokenPrediction(losses, entropies, losses.long()), [0], TokenSettings(entropy_share=1.0)
    )
    assert everything["top_entropy_nats"] == everything["entropy_nats"]


def plain_tokens(reference: Reference, example: Example) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses, entropies and ranks of one solution, from the model's own logits in float64, token by token."""
    [item] = reference.encode([example])
    logits = reference.model()(torch.tensor([item.input_ids])).logits[0, item.num_prompt_tokens - 1 : -1].double()
    chances = torch.softmax(logits, dim=-1).detach().numpy()
    targets = item.input_ids[item.num_prompt_tokens :]
    losses = np.array([-math.log(chance[token]) for chance, token in zip(chances, targets, strict=True)])
    ranks = np.array([1 + (chance > chance[token]).sum() for chance, token in zip(chances, targets, strict=True)])
    return losses, entropy(chances, axis=1), ranks


def test_tokens_are_those_of_the_models_own_logits(tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    found = token_predictions(reference.model(), reference.encode(list(pool)), 200)
    for example, each in zip(pool, found, strict=True):
        losses, entropies, ranks = plain_tokens(reference, example)
        assert each.losses.numpy() == pytest.approx(losses, abs=1e-5)
        assert each.entropies.numpy() == pytest.approx(entropies, abs=1e-5)
        assert (each.ranks.numpy() == ranks).all()


def test_even_and_sure_predictions(tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    """With a head of zeros every token is as likely as any other: the entropy is log V, and no token is likelier.

    A number that is added to all logits changes no prediction.
    """
    reference = Reference(tiny_model)
    model = reference.model()
    head = model.get_output_embeddings().weight
    vocabulary, before = len(head), head.detach().clone()
    encoded = reference.encode(list(load_pool(pool_file))[:2])
    with torch.no_grad():
        try:
            head.zero_()
            [even, _] = token_predictions(model, encoded)
            with monkeypatch.context() as patch:
                patch.setattr("circuitseer_trl.modeling.losses._scale_logits", lambda model, logits: logits + 30000)
                [shifted, _] = token_predictions(model, encoded)
            head.copy_(before * 1e6)
            [sure, _] = token_predictions(model, encoded)
        finally:
            head.copy_(before)
    assert even.entropies.numpy() == pytest.approx(math.log(vocabulary), abs=1e-5)
    assert shifted.entropies.numpy() == pytest.approx(math.log(vocabulary), abs=1e-5)
    assert (even.ranks == 1).all()
    assert sure.entropies.numpy() == pytest.approx(0, abs=1e-3)


def test_scores_are_what_the_tokens_say(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    tables = {
        name: compute_scores(config(tmp_path / name, tiny_model, name, **values), SYSTEM, pool).table.to_pylist()
        for name, values in {
            "hes": {"method_args": {"entropy_share": 0.2}},
            "rsr": {"method_args": {"max_rank": 20}},
            "aslec_drop": {"method_args": {"steps": "sentences"}},
            "max_loss": {},
        }.items()
    }
    for place, example in enumerate(pool):
        losses, entropies, ranks = plain_tokens(reference, example)
        row = {name: table[place] for name, table in tables.items()}
        top = np.sort(entropies)[::-1][: math.ceil(0.2 * len(losses))]
        assert row["hes"]["score"] == pytest.approx(top.sum(), rel=1e-5)
        assert row["hes"]["entropy_nats"] == pytest.approx(entropies.sum(), rel=1e-5)
        ratio = np.minimum(ranks, 20).sum() / losses.sum()
        assert row["rsr"]["score"] == pytest.approx(-ratio, rel=1e-5)
        offsets = reference.tokenizer(example.completion, return_offsets_mapping=True, add_special_tokens=False)
        starts = set(step_starts(example.completion, "sentences"))
        first = np.array([bool(starts & set(range(*span))) for span in offsets["offset_mapping"]])
        found = row["aslec_drop"]
        assert found["first"] == pytest.approx(-losses[first].mean(), rel=1e-5)
        assert found["score"] == found["others"] == pytest.approx(-losses[~first].mean(), rel=1e-5)
        share, mean = found["first_share"], found["mean_log_probability"]
        assert share == first.mean()
        assert mean == pytest.approx(share * found["first"] + (1 - share) * found["others"], abs=1e-12)
        assert mean == -row["max_loss"]["score"]  # the same losses, byte for byte


def test_the_other_readings_of_hes(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    rows = [
        HESScorer(0.2, of).bind(pool, reference, None, tmp_path).score_batch(list(pool))
        for of in ("top_sum", "top_mean", "sum")
    ]
    for top, mean, whole in zip(*rows, strict=True):
        assert mean["score"] == top["score"] / top["num_top"]
        assert whole["score"] == top["entropy_nats"] >= top["score"]


def table_of(first: np.ndarray, others: np.ndarray, share: np.ndarray) -> pa.Table:
    mean = share * first + (1 - share) * others
    return pa.table(
        {"mean_log_probability": mean, "first": first, "others": others, "first_share": share, "score": others}
    )


def test_casl_is_least_squares_over_the_rows():
    rng = np.random.default_rng(0)
    first, others, share = rng.normal(-3, 0.5, 200), rng.normal(-1, 0.2, 200), rng.uniform(0.02, 0.2, 200)
    table = table_of(first, others, share)
    design = np.column_stack([first, others, share, np.ones(200)])
    mean = table["mean_log_probability"].to_numpy()
    expected = np.linalg.solve(design.T @ design, design.T @ mean)  # the normal equations
    fit = casl_fit(table)
    assert list(fit.values()) == pytest.approx(expected, rel=1e-8)
    assert fit["first_share"] == pytest.approx(first.mean() - others.mean(), abs=0.05)  # a tangent of the identity
    scores = StepLengthCorrection().combine(table, None)
    assert scores == pytest.approx(mean - expected[2] * share)
    order = rng.permutation(200)
    assert StepLengthCorrection().combine(table.take(order), None) == pytest.approx(scores[order], abs=1e-9)
    # What is left is nearly the mean with the pool's share of first tokens for every row.
    even = share.mean() * first + (1 - share.mean()) * others
    assert spearmanr(scores, even).statistic > 0.98


def test_casl_where_all_rows_have_the_same_share():
    table = table_of(np.array([-3.0, -2.0, -4.0]), np.array([-1.0, -1.5, -0.5]), np.full(3, 0.25))
    assert casl_fit(table)["first_share"] == 0
    assert StepLengthCorrection().combine(table, None) == pytest.approx(table["mean_log_probability"].to_numpy())
    nothing = table.set_column(4, "score", pa.array([None] * 3, pa.float64()))
    nothing = nothing.set_column(2, "others", pa.array([None] * 3, pa.float64()))
    assert casl_fit(nothing) is None
    assert np.isnan(StepLengthCorrection().combine(nothing, None)).all()


def test_the_fit_is_on_the_card(tmp_path: Path, tiny_model: str, pool_file: str):
    values = {"method_args": {"steps": "sentences"}}
    table = compute_scores(config(tmp_path, tiny_model, "aslec_casl", **values), SYSTEM, load_pool(pool_file)).table
    assert read_json(tmp_path / "scores.json")["casl"] == casl_fit(table)


def test_one_pass_serves_all(tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    HESScorer().bind(pool, reference, None, tmp_path)
    monkeypatch.setattr("circuitseer_trl.modeling.token_statistics.token_predictions", None)  # to call it would fail
    for scorer in (ASLECScorer(), RSRScorer()):
        assert scorer.bind(pool, reference, None, tmp_path).score_batch([pool[0]])[0]["score"] < 0
    with pytest.raises(ValueError, match="holds results of other inputs"):
        RSRScorer(max_rank=7).bind(pool, reference, None, tmp_path)


def test_losses_are_taken_from_the_pass(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    pool = load_pool(pool_file)
    plain = compute_scores(config(tmp_path / "plain", tiny_model, "max_loss"), SYSTEM, pool).table
    HESScorer().bind(pool, Reference(tiny_model, system_prompt=SYSTEM), None, tmp_path / "taken")
    monkeypatch.setattr("circuitseer_trl.modeling.stored_losses.response_losses", None)  # to call it would fail
    assert compute_scores(config(tmp_path / "taken", tiny_model, "max_loss"), SYSTEM, pool).table.equals(plain)
    assert read_table(tmp_path / "taken" / "losses").equals(read_table(tmp_path / "plain" / "losses"))


def test_rows_without_a_score(tmp_path: Path, tiny_model: str):
    pool = pool_of(
        Example(0, "a", "A very long problem " * 30, "5"),
        Example(1, "b", "What is 2 + 2?", "7\n8"),
        Example(2, "c", "What is 2 + 2?", "2 + 2 = 4\nSo it is 4"),
    )
    reference = Reference(tiny_model, max_length=64, system_prompt="")
    rows = ASLECScorer(num_first_tokens=2).bind(pool, reference, None, tmp_path).score_batch(list(pool))
    assert [row["status"] for row in rows] == ["truncated", "no_other_tokens", "ok"]
    assert [row["score"] is None for row in rows] == [True, True, False]
    assert rows[1]["others"] is None
    one_step = pool_of(Example(0, "a", "What is 2 + 2?", "4"))
    with pytest.raises(ValueError, match=r"No solution of the pool examples has two steps \(`steps: lines`\)"):
        ASLECScorer().bind(one_step, reference, None, tmp_path / "one")


@pytest.mark.parametrize("method", ["rsr", "dependence", "aslec_casl"])
def test_signed_scores_are_refused_before_work(tmp_path: Path, tiny_model: str, pool_file: str, method: str):
    pool = load_pool(pool_file)
    for values, message in (
        ({"sampling": "soft"}, f"scores of {method} may be below 0. Set `sampling: top_k`"),
        ({"sampling": "stratified", "method_args": {"within": "scores"}}, f"scores of {method} may be below 0"),
        ({"length_control": "residual"}, "`length_control: residual` takes logarithms"),
    ):
        with pytest.raises(ValueError, match=message):
            compute_scores(config(tmp_path, tiny_model, method, **values), SYSTEM, pool)
    assert not list(tmp_path.iterdir())


def test_cards_say_what_scores_follow(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    compute_scores(config(tmp_path, tiny_model, "longest"), SYSTEM, pool)
    found = read_json(tmp_path / "scores.json")["rank_correlations"]
    scores = read_table(tmp_path / "scores")["score"].to_numpy()
    lengths = [len(example.problem) for example in pool]
    steps = [num_steps(example.completion) for example in pool]
    assert found["problem_length"] == pytest.approx(spearmanr(scores, lengths).statistic)
    assert found["steps"] == pytest.approx(spearmanr(scores, steps).statistic)
    r, a, b = found["steps"], found["problem_length"], spearmanr(steps, lengths).statistic
    assert found["steps_given_problem_length"] == pytest.approx((r - a * b) / math.sqrt((1 - a**2) * (1 - b**2)))
