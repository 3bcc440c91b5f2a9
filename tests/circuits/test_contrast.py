"""Heads by contrast: hand-worked values, their errors by bootstrap, and a whole run."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits.contrast import Contrast, easy_and_hard
from circuitseer_trl.circuits.head_ranking import selection_stability
from circuitseer_trl.circuits.heads import find_heads, increase_matrix
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import build_pool, load_pool
from circuitseer_trl.scripts.find_heads import main as find_heads_command
from tests.conftest import PROBLEMS

# Base losses part six examples into the easiest two (1 and 4) and the hardest two (0 and 3).
DIFFICULTY = np.array([5.0, 1.0, 2.0, 4.0, 0.5, 3.0])
INCREASES = np.array([[0.9, 0.3], [0.1, 0.0], [9.0, 9.0], [0.7, 0.1], [0.3, 0.002], [9.0, 9.0]])


def test_values_by_hand():
    assert Contrast().values(INCREASES, DIFFICULTY) == pytest.approx([0.8 / 0.2, 0.2 / 0.01])
    assert Contrast(floor_nats=0.5).values(INCREASES, DIFFICULTY) == pytest.approx([0.8 / 0.5, 0.2 / 0.5])


def test_standard_error_by_hand():
    # Variances of the means: hard 0.02 / 2 for both heads; easy 0.02 / 2 for the first, and the floor for the second.
    expected = [np.sqrt(0.01 + 16 * 0.01) / 0.2, np.sqrt(0.01) / 0.01]
    assert Contrast().standard_error(INCREASES, DIFFICULTY) == pytest.approx(expected)


def test_standard_error_is_that_of_a_bootstrap_within_the_thirds():
    rng = np.random.default_rng(0)
    difficulty = np.arange(300.0)
    increases = rng.gamma(4.0, [0.05, 0.02], (300, 2)) * (1 + difficulty[:, None] / 100)
    easy, hard = easy_and_hard(difficulty)
    ratios = [
        increases[rng.choice(hard, len(hard))].mean(axis=0) / increases[rng.choice(easy, len(easy))].mean(axis=0)
        for _ in range(2000)
    ]
    assert Contrast().standard_error(increases, difficulty) == pytest.approx(np.std(ratios, axis=0), rel=0.1)


def test_ties_go_to_the_earlier_example():
    easy, hard = easy_and_hard(np.array([2.0, 1.0, 2.0, 1.0, 1.0, 3.0]))
    assert (easy.tolist(), hard.tolist()) == ([1, 3], [2, 5])


def test_stability_takes_the_thirds_of_each_draw():
    # The first head matters on hard rows alone, the second on all: only its contrast is high, and its mean is not.
    difficulty = np.arange(30.0)
    increases = np.column_stack([np.where(difficulty > 15, 0.5, 0.0), np.ones(30)])
    assert selection_stability(increases, 1, difficulty)[0] == 0
    assert selection_stability(increases, 1, difficulty, Contrast().values)[0] > 0.99


def test_a_whole_run(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt="Think.")
    heads = find_heads(pool, reference, tmp_path / "one", Probe("random", 9), 0.25, contrast=Contrast(floor_nats=1e-4))
    plain = find_heads(pool, reference, tmp_path / "two", Probe("random", 9), 0.25)
    card, entry = heads.card, read_json(tmp_path / "one" / "heads.json")["contrast"]
    assert card["importance"] == plain.card["importance"]
    assert "contrast" not in plain.card
    uids = read_table(tmp_path / "one" / "probe.parquet")["uid"].to_pylist()
    increases = increase_matrix(read_table(tmp_path / "one" / "importance.parquet"), uids, (2, 4))
    losses = np.array(read_table(tmp_path / "one" / "probe.parquet")["loss_nats"].to_pylist())
    order = np.argsort(losses)
    slow = [increases[order[-3:], head].mean() / max(increases[order[:3], head].mean(), 1e-4) for head in range(8)]
    assert np.array(entry["values"]).ravel() == pytest.approx(slow)
    best = sorted(range(8), key=lambda head: -slow[head])[:2]
    assert heads.selected == [(head // 4, head % 4) for head in best]
    assert entry["num_easy"] == entry["num_hard"] == 3
    assert list(entry["settling"]["overlap"]) == ["3", "4", "5", "6", "7"]


def test_a_difficulty_column_parts_the_probe(tmp_path: Path, tiny_model: str):
    rows = [{"problem": f"{problem} {n}", "solution": text, "level": n} for n, (problem, text) in enumerate(PROBLEMS)]
    pool = build_pool(datasets.Dataset.from_list(rows[:9]), difficulty_column="level")
    found = find_heads(
        pool, Reference(tiny_model), tmp_path, Probe("random", 9), 0.25, contrast=Contrast(part_by="difficulty")
    )
    assert (found.card["contrast"]["difficulty_easy"], found.card["contrast"]["difficulty_hard"]) == (1, 7)
    for level, message in ((None, "9 of 9 probe examples have no difficulty"), (1, "have the same difficulty")):
        same = build_pool(
            datasets.Dataset.from_list([{**row, "level": level} for row in rows[:9]]), difficulty_column="level"
        )
        with pytest.raises(ValueError, match=message):
            find_heads(
                same, Reference(tiny_model), tmp_path, Probe("random", 9), contrast=Contrast(part_by="difficulty")
            )


def test_the_command_says_the_contrast(tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture):
    words = [
        "--dataset_name",
        pool_file,
        "--reference_model",
        tiny_model,
        "--criterion",
        "contrast",
        "--probe_size",
        "6",
    ]
    find_heads_command([*words, "--output_dir", str(tmp_path)])
    assert "contrast between the 2 rows of highest loss and the 2 of lowest" in (printed := capsys.readouterr().out)
    assert "times as much on hard rows" in printed
    with pytest.raises(ValueError, match="compares thirds of it"):
        find_heads_command([*words[:-1], "5", "--output_dir", str(tmp_path / "few")])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"criterion": "contrast", "probe_strategy": "max_loss"}, "`probe_strategy: max_loss` has only hard ones"),
        ({"criterion": "contrast", "head_detection": "race"}, "not the ratio of `criterion: contrast`"),
        ({"method": "circuitseer_contrast", "criterion": "loss"}, "needs `criterion: contrast`, got 'loss'"),
        ({"contrast_floor": 0.0}, "`contrast_floor` must be"),
        ({"criterion": "size"}, "`criterion` must be one of"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SelectionConfig(output_dir="out", **values)


def test_the_method_sets_its_criterion():
    config = SelectionConfig(output_dir="out", method="circuitseer_contrast")
    assert (config.criterion, config.probe_strategy) == ("contrast", "random")
    assert SelectionConfig(output_dir="out").probe_strategy == "max_loss"
