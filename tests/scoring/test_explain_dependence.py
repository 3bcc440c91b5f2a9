"""A dependence taken apart: steps and tokens add up to the row's score, and the text shows them."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pages.explanation import render_dependence
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.dependence import DependenceScorer
from circuitseer_trl.scoring.explain_dependence import DependenceExplanation, explain_dependence
from circuitseer_trl.scripts.main import dispatch as main
from tests.helpers.method_inputs import SYSTEM

HEADS = [(0, 1), (1, 2)]


def head_set(reference: Reference) -> HeadSet:
    return HeadSet(HEADS, {"model": reference.describe(), "selected": [list(head) for head in HEADS]})


def test_the_parts_of_a_row_add_up_to_its_score(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    scorer = DependenceScorer().bind(pool, reference, head_set(reference), tmp_path)
    [row] = scorer.score_batch([pool[0]])
    found = explain_dependence(pool[0], DependenceScorer().attach(reference, head_set(reference)))
    assert "".join(found.tokens) == pool[0].completion == "She has 3 + 4 = 7.\n\\boxed{7}"
    first = "".join(token for token, step in zip(found.tokens, found.steps.tolist(), strict=True) if step == 1)
    assert first.strip() == "She has 3 + 4 = 7."
    assert set(found.steps.tolist()) == {1, 2}
    assert found.losses.mean() == pytest.approx(row["loss_nats"], abs=1e-6)
    assert found.losses_without.mean() == pytest.approx(row["loss_without_heads_nats"], abs=1e-6)
    by_step = [
        (found.losses_without[found.steps == step].mean() - found.losses[found.steps == step].mean())
        * (found.steps == step).sum()
        for step in (1, 2)
    ]
    assert sum(by_step) == pytest.approx(len(found.tokens) * row["score"], abs=1e-5)
    assert np.abs(found.rises).max() > 1e-3


def test_the_text_by_hand():
    losses, without = np.array([1.0, 0.5, 0.5, 2.0]), np.array([1.5, 1.5, 0.25, 2.0])
    row = Example(7, "abc", "?", "a b\nc d")
    text = render_dependence(
        DependenceExplanation(row, ["a", " b", "\nc", " d"], np.array([1, 1, 2, 2]), losses, without, 3), max_tokens=2
    )
    lines = text.splitlines()
    # 4.0 / 4 and 5.25 / 4; the steps' means are .75 and 1.5, 1.25 and 1.125.
    assert "the loss of 4 tokens is 1.0000 nats per token, and 1.3125 without 3 heads" in lines[0]
    assert "Difference +0.3125, ratio +0.3125" in lines[1]
    assert "add up to +1.2500 nats" in lines[1]
    assert lines[4].split() == ["step", "1", "a\u00b7b", "2", "0.75", "1.50", "+1.500", "\u2588" * 30]
    assert lines[5].split() == ["step", "2", "c\u00b7d", "2", "1.25", "1.12", "-0.250"]
    assert [line.split()[0] for line in lines[8:10]] == ["0", "1"]
    assert lines[10] == "      \u2026 2 tokens nearer to 0 left out"
    assert max(map(len, lines)) <= 150


def test_the_command(tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]):
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", str(tmp_path / "run")]
    words += ["--head_set", "random", "--row", "0"]
    main(["explain", *words, "--method", "dependence", "--view", "dependence"])
    assert "Steps (our reading of AIR)" in capsys.readouterr().out
    assert not (tmp_path / "run" / "losses").exists()
    for method, view, message in (
        ("circuitseer", "dependence", "`view: dependence` is for `method: dependence`, got `method: circuitseer`"),
        ("dependence", "attention", "Only scores of `method: circuitseer`"),
        ("dependence", "influence", "`view: influence` is for `method: infra`"),
    ):
        with pytest.raises(ValueError, match=message):
            main(["explain", *words, "--method", method, "--view", view])


def test_a_row_without_a_solution_left_is_refused(tiny_model: str):
    reference = Reference(tiny_model, max_length=64, system_prompt="")
    scorer = DependenceScorer().attach(reference, head_set(reference))
    with pytest.raises(ValueError, match="Row 0 has no token of its solution left"):
        explain_dependence(Example(0, "a", "A very long problem " * 30, "5"), scorer)
