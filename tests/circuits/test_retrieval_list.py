"""Published lists of retrieval heads: ranks by hand, the steps that take them, and what is refused."""

import json
import logging
from pathlib import Path

import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.circuits.retrieval_list import heads_to_score_with, read_retrieval_list
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.scripts.compare_heads import main as compare_heads_command
from circuitseer_trl.scripts.score_pool import main as score_pool_command

SCORES = {
    "0-0": [0, 0.5],
    "0-1": [0.25],
    "0-2": [1, 0.5],
    "0-3": [0],
    "1-0": [0.75, 0.75],
    "1-1": [0],
    "1-2": [0.1],
    "1-3": [0],
}


def written(path: Path, scores: object = SCORES) -> Path:
    path.write_text(json.dumps(scores))
    return path


def test_means_rank_the_heads(tmp_path: Path):
    heads = read_retrieval_list(written(tmp_path / "m.json"), 0.375)
    # Means: 0.25 0.25 0.75 0 / 0.75 0 0.1 0. Ties go to the lower layer, then to the lower head.
    assert heads.selected == [(0, 2), (1, 0), (0, 0)]
    assert heads.card["retrieval"]["values"] == [[0.25, 0.25, 0.75, 0], [0.75, 0, 0.1, 0]]
    assert heads.card["retrieval"]["standard_error"] is None  # one test of a head has no spread
    pairs = {name: [0.0, 1.0] for name in SCORES}
    twice = read_retrieval_list(written(tmp_path / "pairs.json", pairs))
    assert twice.card["retrieval"]["standard_error"] == [[pytest.approx(0.5)] * 4] * 2


def test_steps_take_a_list(
    tmp_path: Path,
    tiny_model: str,
    pool_file: str,
    capsys: pytest.CaptureFixture,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "Other.json")
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--heads_file", "Other.json"]
    with caplog.at_level(logging.WARNING):
        score_pool_command([*words, "--head_ratio", "0.25", "--output_dir", "scored"])
    assert "Other.json names no model, and its heads are taken for those of" in caplog.text
    assert read_json(Path("scored/scores.json"))["heads"] == [[0, 2], [1, 0]]
    caplog.clear()
    named = written(tmp_path / f"{Path(tiny_model).name}.json")
    assert heads_to_score_with(named, Reference(tiny_model), 0.25).selected == [(0, 2), (1, 0)]
    assert not caplog.text
    written(tmp_path / "Third.json", SCORES | {"0-1": [0.9]})
    compare_heads_command(["Other.json", "Third.json"])
    printed = capsys.readouterr().out
    assert "retrieval: correlation (Pearson)" in printed
    assert "model: Other and Third" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"2-3": [1]}, r"has 9 heads, and its highest numbers are those of 3 layers of 4, which are 12"),
        ({"0-1": []}, "The scores of head 0-1 in .* are no list of numbers"),
        ({"0-1": ["1"]}, "The scores of head 0-1 in .* are no list of numbers"),
        ({"0-1": [float("nan")]}, "has a score that is not finite"),
    ],
)
def test_broken_lists_are_refused(tmp_path: Path, change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        read_retrieval_list(written(tmp_path / "m.json", SCORES | change))


def test_lists_that_do_not_fit_are_refused(tmp_path: Path, tiny_model: str):
    path = written(tmp_path / "m.json", SCORES | {f"2-{head}": [1] for head in range(4)})
    with pytest.raises(ValueError, match=r"lists 3 layers of 4 heads, and .* has 2 layers of 4. Take the list of"):
        heads_to_score_with(path, Reference(tiny_model), 0.25)
    with pytest.raises(ValueError, match=r"has 5 heads with a score above 0, and `head_ratio: 0.75` asks for 6"):
        heads_to_score_with(written(path), Reference(tiny_model), 0.75)
