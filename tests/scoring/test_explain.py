"""A score taken apart: the parts add up, and the text shows them."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.circuits.heads import undetected_heads
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pages.explanation import bar, render
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.explain import Explanation, explain
from circuitseer_trl.scripts.main import dispatch as main

ROW = Example(7, "abc", "a b c d", "")


def test_parts_worked_out_by_hand():
    received = np.array([[3.0, 1, 0, 0], [1.0, 1, 1, 1]])
    # Mean 2, 1, .5, .5: variance (1 + 0 + .25 + .25) / 4 = .375. The even head has no part in it.
    explanation = Explanation(ROW, list("abcd"), [(0, 0), (1, 1)], received, 0, 0.375)
    assert explanation.token_parts().tolist() == pytest.approx([2 / 3, 0, 1 / 6, 1 / 6])
    assert explanation.head_parts().tolist() == pytest.approx([1, 0])
    # Without the first token: 1, .5, .5 of mean 2/3, variance 1/18.
    later = Explanation(ROW, list("abcd"), [(0, 0), (1, 1)], received, 1, 1 / 18)
    assert later.token_parts().tolist() == pytest.approx([0, 2 / 3, 1 / 6, 1 / 6])


@pytest.mark.parametrize("sink_tokens", [0, 1])
def test_parts_of_a_real_row_add_up_to_its_score(tmp_path: Path, tiny_model: str, pool_file: str, sink_tokens: int):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    heads = undetected_heads(reference, "all")
    scorer = CircuitSeerScorer(sink_tokens=sink_tokens).bind(pool, reference, heads, tmp_path)
    explanation = explain(pool[2], scorer)
    assert explanation.score == pytest.approx(scorer.score_batch([pool[2]])[0]["score"], rel=1e-5)
    assert "".join(explanation.tokens) == pool[2].problem
    assert explanation.token_parts().sum() == pytest.approx(1)
    assert explanation.head_parts().sum() == pytest.approx(1)


def test_a_text_of_nothing_but_sink_tokens_has_no_score(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    lengths = [len(reference.tokenizer(problem)["input_ids"]) for problem in pool.examples["problem"]]
    middle = sorted(lengths)[6]
    scorer = CircuitSeerScorer(sink_tokens=middle).bind(pool, reference, undetected_heads(reference, "all"), tmp_path)
    for length, row in zip(lengths, scorer.score_batch(list(pool)), strict=True):
        assert row["num_tokens"] == length
        assert row["status"] == ("ok" if length > middle else "too_short")
        assert ("score" in row) == (length > middle)
    with pytest.raises(ValueError, match=rf"has {middle} tokens, which `sink_tokens: {middle}` leaves out"):
        explain(pool[lengths.index(middle)], scorer)


def test_bars():
    assert bar(1, 1) == "\u2588" * 30
    assert bar(0.5, 1) == "\u2588" * 15
    assert bar(0.004, 1) == "\u258f"
    assert bar(2, 1) == "\u2588" * 30 + "\u25b6"
    assert bar(-1, 1) == bar(0, 0) == ""


def test_long_texts_are_cut_and_say_so():
    received = np.ones((1, 50))
    received[0, [0, 30]] = [9, 3]
    received[0, 40:] = 0
    # (64 + 4 + 10 * 1) / 50
    text = render(Explanation(ROW, ["\n"] * 50, [(0, 0)], received, 0, 1.56), max_tokens=2)
    assert "score 1.5600 from 50 tokens and 1 heads" in text
    assert "first token receives 18% of all attention and makes 82% of the score" in text
    assert "29 tokens nearer to 1 left out" in text
    assert "19 tokens nearer to 1 left out" in text
    assert text.count("\u23ce") == 2
    assert max(map(len, text.splitlines())) <= 120


def test_the_command(tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]):
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", str(tmp_path)]
    with pytest.raises(FileNotFoundError, match="find-heads` writes it"):
        main(["explain", "--row", "3", *words])
    main(["explain", "--row", "3", "--head_set", "all", *words])
    by_row = capsys.readouterr().out
    assert "Row 3, uid" in by_row
    assert "layer  1 head  3" in by_row
    main(["explain", "--row", load_pool(pool_file).uids[3], "--head_set", "all", *words])
    assert capsys.readouterr().out == by_row
    with pytest.raises(ValueError, match=r"no usable row '99'.* from 0 to 11"):
        main(["explain", "--row", "99", "--head_set", "all", *words])
