"""The race against the evaluation of every head on the whole probe."""

import math
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits import race as racing
from circuitseer_trl.circuits.heads import find_heads
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.circuits.race import decide, race, standard_errors, sweep_cost, with_control
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.find_heads import describe

NUM_LAYERS, WIDTH, SIZE = 30, 9, 14
HEADS = [divmod(index, WIDTH) for index in range(NUM_LAYERS * WIDTH)]


def simulated(num_examples: int, seed: int) -> np.ndarray:
    """Loss increases as heavy-tailed as those of SmolLM2-135M's 270 heads on GSM8K.

    There the best heads have 1.02, .30, .22, .15, .12 nats, 84 are negative down to -.02, the median is .0055, the top
    13 hold half of the positive mass, and the top 14 of two disjoint sets of 8 examples share .76 of their heads.
    """
    rng = np.random.default_rng(seed)
    weak = np.exp(rng.normal(np.log(0.009), 1.0, size=len(HEADS) - 5 - 84))
    mean = np.concatenate([[1.02, 0.30, 0.215, 0.152, 0.118], weak, -np.abs(rng.normal(0, 0.007, size=84))])
    rng.shuffle(mean)
    hardness = rng.gamma(2, 0.5, size=(num_examples, 1))
    noise = rng.standard_t(3, size=(num_examples, len(HEADS))) / math.sqrt(3)
    return mean * hardness + (0.015 + 0.8 * np.abs(mean)) * noise


def run(matrix: np.ndarray, controls: np.ndarray) -> tuple[set[int], float]:
    """The winners of a race over a matrix, and its cost as a share of all sweeps."""
    cost = 0

    def evaluate(number: int, examples: range, active: np.ndarray) -> np.ndarray:
        nonlocal cost
        cost += len(examples) * sweep_cost([HEADS[index] for index in active], NUM_LAYERS)
        return matrix[np.ix_(examples, active)]

    selected = race(evaluate, controls, SIZE).selected
    return set(selected.tolist()), cost / len(matrix) / sweep_cost(HEADS, NUM_LAYERS)


@pytest.mark.parametrize(
    ("num_examples", "controlled", "saving"), [(100, False, 2.4), (300, False, 4.0), (300, True, 6.0)]
)
def test_the_race_finds_the_heads_of_the_full_evaluation(num_examples: int, controlled: bool, saving: float):
    same, costs = 0, []
    for seed in range(20):
        matrix = simulated(num_examples, seed)
        # On SmolLM2 a control takes off three quarters of the variance of a weak head, and little of a strong one's.
        noise = 0.5 * np.random.default_rng(seed + 1000).normal(0, matrix.std(axis=0), matrix.shape)
        found, cost = run(matrix, matrix + noise if controlled else np.zeros_like(matrix))
        costs.append(cost)
        same += found == set(np.argsort(-matrix.mean(axis=0), kind="stable")[:SIZE].tolist())
    assert same >= 19
    assert 1 / np.mean(costs) > saving


def test_a_control_changes_no_mean_of_the_whole():
    rng = np.random.default_rng(0)
    increases, controls = rng.normal(size=(2, 7, 3))
    assert with_control(increases, controls).mean(axis=0) == pytest.approx(increases.mean(axis=0))
    # The second example is 3 above its head's mean by the control as well: all of that is taken off, and nothing for a
    # control that would add to the variance.
    part, whole = np.array([[1.0, 1.0], [5.0, 1.0]]), np.array([[0.0, 3.0], [4.0, 0.0], [-1.0, 0.0]])
    assert with_control(part, whole).tolist() == [[2.0, 1.0], [2.0, 1.0]]


def test_errors_of_a_sample_without_replacement():
    # Standard deviation of 1, 3 is sqrt(2); of 8 examples 2 were drawn: sqrt(2) * sqrt((1 - 2/8) / 2).
    assert standard_errors(np.array([[1.0], [3.0]]), 8).tolist() == pytest.approx([math.sqrt(0.75)])
    assert standard_errors(np.array([[1.0], [3.0]]), 2).tolist() == [0]
    assert standard_errors(np.array([[1.0]]), 2).tolist() == [math.inf]


def test_paired_differences_decide():
    # Both other heads are 1 below the first on average; the second always, the third by chance.
    increases = np.array([[9.0, 8.0, 9.5], [5.0, 4.1, 3.0], [7.0, 5.9, 5.5], [1.0, 0.0, 1.0]])
    surely_in, surely_out = decide(increases, 1, 1000)
    assert (surely_in.tolist(), surely_out.tolist()) == ([False] * 3, [False, True, False])
    surely_in, surely_out = decide(increases[:, :2], 1, 1000)
    assert (surely_in.tolist(), surely_out.tolist()) == ([True, False], [False, True])
    surely_in, surely_out = decide(increases, 1, 4)  # all examples are there: no doubt is left
    assert (surely_in.tolist(), surely_out.tolist()) == ([True, False, False], [False, True, True])
    assert decide(increases, 3, 4)[0].all()


def test_cost_of_a_sweep():
    # Three layers: the clean row through all, a head of layer 0 through 3, one of layer 2 through 1.
    assert sweep_cost([(0, 1), (2, 0)], 3) == 3 + 3 + 1


def test_a_race_on_a_model(tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(racing, "FIRST_ROUND", 4)
    monkeypatch.setattr(racing, "Z", 2.5)
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt="")

    def find(folder: str, mode: str) -> dict[Path, bytes]:
        heads = find_heads(
            pool,
            reference,
            tmp_path / folder,
            Probe(size=12),
            head_ratio=0.25,
            head_detection=mode,
        )
        assert len(describe(heads).splitlines()) == (3 if mode == "exact" else 4)
        return {path: path.read_bytes() for path in (tmp_path / folder).rglob("*.parquet")}

    find("exact", "exact")
    first = find("race", "race")
    exact, card = read_json(tmp_path / "exact" / "heads.json"), read_json(tmp_path / "race" / "heads.json")
    assert (exact["mode"], card["mode"]) == ("exact", "race")
    assert sorted(card["selected"]) == sorted(exact["selected"])
    counts = np.array(card["race"]["num_evaluated"])
    assert counts.shape == (2, 4)
    assert counts.min() < 12
    assert card["race"]["row_tokens_ratio"] > 0
    assert 0 < card["race"]["confidence"]["error"] <= 1
    # Every number that was evaluated is that of the exact sweep, and importances lie in their intervals.
    key = ("uid", "layer", "head")
    whole = {
        tuple(row[name] for name in key): row["loss_increase"]
        for row in read_table(tmp_path / "exact" / "importance.parquet").to_pylist()
    }
    part = read_table(tmp_path / "race" / "importance.parquet").to_pylist()
    assert len(part) == counts.sum()
    for row in part:
        assert row["loss_increase"] == pytest.approx(whole[tuple(row[name] for name in key)], abs=1e-5)
    importance = np.array(card["importance"])
    assert np.all(np.array(card["race"]["half_width"])[counts == 12] == 0)
    assert importance[counts == 12] == pytest.approx(np.array(exact["importance"])[counts == 12], abs=1e-5)
    assert card["base_loss"] == pytest.approx(exact["base_loss"], abs=1e-6)

    # Killed in a later round and run again: the same files.
    lost = sorted((tmp_path / "race" / "race").rglob("part-*.parquet"))[-2:]
    for path in [*lost, tmp_path / "race" / "importance.parquet"]:
        path.unlink()
    assert find("race", "race") == first
