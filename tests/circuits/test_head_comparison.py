"""Two sets of heads: numbers by hand, the command, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from circuitseer_trl.circuits.contrast import Contrast
from circuitseer_trl.circuits.head_comparison import agreement, compare_heads
from circuitseer_trl.circuits.heads import find_heads
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.compare_heads import main as compare_command


def card(importance: list[list[float]], selected: list[list[int]], fingerprint: str = "a", **values: object) -> dict:
    model = {"name": f"model {fingerprint}", "fingerprint": fingerprint}
    return {"model": model, "importance": importance, "selected": selected, "mode": "exact", **values}


FIRST = card([[0.1, 0.4], [0.3, 0.2]], [[0, 1], [1, 0]])


def test_numbers_by_hand():
    second = card([[0.4, 0.3], [0.1, 0.2]], [[0, 0], [0, 1]], "b", probe={"size": 9})
    found = compare_heads(FIRST, second)
    assert (found.both, found.only_first, found.only_second) == ([(0, 1)], [(1, 0)], [(0, 0)])
    assert found.by_chance == 1  # two of four, twice
    assert found.jaccard == pytest.approx(1 / 3)
    values = [np.ravel(each["importance"]) for each in (FIRST, second)]
    assert found.agreements["importance"].spearman == pytest.approx(spearmanr(*values).statistic)
    assert found.agreements["importance"].pearson == pytest.approx(np.corrcoef(*values)[0, 1])
    assert found.differences == ["model: model a and model b, of other weights", "probe's size: None and 9"]
    same = compare_heads(FIRST, FIRST)
    assert (same.jaccard, same.differences, same.agreements["importance"].spearman) == (1, [], pytest.approx(1))
    assert agreement(np.zeros((2, 2)), np.ones((2, 2))).spearman is None


def test_models_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"2 layers of 2 heads \(model a\), the second of 1 of 3 \(model b\)"):
        compare_heads(FIRST, card([[0.1, 0.2, 0.3]], [[0, 1]], "b"))


def test_the_command(tmp_path: Path, tiny_model: str, other_model: str, pool_file: str, capsys: pytest.CaptureFixture):
    pool = load_pool(pool_file)
    find_heads(pool, Reference(tiny_model), tmp_path / "base", Probe("random", 6), 0.25)
    find_heads(pool, Reference(other_model), tmp_path / "other", Probe("random", 6), 0.25, contrast=Contrast())
    page = tmp_path / "page.html"
    compare_command(
        [f"first={tmp_path / 'base'}", f"second={tmp_path / 'other' / 'heads.json'}", "--output", str(page)]
    )
    printed = capsys.readouterr().out
    for words in ("heads of both", "criterion: loss and contrast", "of other weights", "importance: rank correlation"):
        assert words in printed
    text = page.read_text()
    assert "second: importance" in text
    assert text.count("<h1") == 1
    assert "Each head in both" in text
    (tmp_path / "named.json").write_text(json.dumps({"model": {}, "selected": [[0, 1]], "mode": "random"}))
    with pytest.raises(ValueError, match="has the names of its heads and no values"):
        compare_command([str(tmp_path / "named.json"), str(tmp_path / "base"), "--output", str(page)])
