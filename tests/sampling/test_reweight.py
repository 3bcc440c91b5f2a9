"""Pruning and reweighting, worked out by hand; and repeats as training sees them."""

import json
from pathlib import Path

import numpy as np
import pytest
from trl import SFTConfig, SFTTrainer

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.sampling.prune import PruneSampler, alternate, goodness, mean_ranks
from circuitseer_trl.sampling.reweight import ReweightSampler, round_to_counts
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.training.selected_rows import read_chosen_rows, training_rows
from tests.helpers.method_inputs import select_rows

UIDS = [f"row {n}" for n in range(8)]


def prune(strategy: str, correct: list[list[float]], incorrect: list[list[float]], size: int) -> list[int]:
    columns = {"influences_correct": correct, "influences_incorrect": incorrect}
    rows = np.arange(len(correct))
    return PruneSampler(strategy).sample(np.zeros(len(rows)), rows, UIDS[: len(rows)], size, 0, columns).rows.tolist()


def test_mean_ranks_by_hand():
    # Ranks in the first query 0, 1, 2; in the second 1.5, 1.5, 0.
    assert mean_ranks(np.array([[1.0, 5], [2, 5], [3, 4]])).tolist() == [0.75, 1.25, 1]


def test_a_row_is_pruned_only_where_score_and_rank_call_it_bad():
    influences = np.array([[-9.0, 3, 3], [1, 1, 1], [2, 2, 2], [4, 0, 4]])
    # Means -1, 1, 2, 8/3. Ranks 0 3 2 | 1 1 0 | 2 2 1 | 3 0 3, on average 5/3, 2/3, 5/3, 2.
    # Percentiles by score 0 1 2 3 quarters, by rank 1.5 0 1.5 3: the larger ones 1.5 1 2 3.
    assert (4 * goodness(influences)).tolist() == [1.5, 1, 2, 3]
    assert prune("correct", influences.tolist(), [[0.0]] * 4, 4) == [3, 2, 0, 1]
    assert prune("correct", influences.tolist(), [[]] * 4, 2) == [3, 2]
    # What helps wrong answers most goes first: the order is the other way round.
    assert prune("incorrect", [[0.0]] * 4, (-influences).tolist(), 4) == [3, 2, 0, 1]


def test_combined_alternates_until_the_budget_is_reached():
    assert alternate([0, 1, 2, 3], [0, 3, 2, 1]) == [0, 3, 1, 2]
    correct, incorrect = [[0.0], [1], [2], [3], [4]], [[0.0], [1], [9], [3], [8]]
    # Least beneficial 0 1 2 3 4; most harmful 2 4 3 1 0. Pruned: 0, 2, 1, 4, 3.
    for size in range(1, 6):
        assert prune("combined", correct, incorrect, size) == [3, 4, 1, 2, 0][:size]


def test_ties_keep_the_smaller_uid_and_a_missing_side_is_named():
    assert prune("correct", [[1.0]] * 3, [[]] * 3, 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="no `influences_incorrect`, which `strategy: combined` needs"):
        prune("combined", [[1.0]] * 3, [[]] * 3, 2)
    with pytest.raises(ValueError, match="must be one of correct, incorrect, combined"):
        PruneSampler("all")  # type: ignore[arg-type]


def reweight(difficulty: list[float], size: int, seed: int = 0, category: list[str] | None = None, **values: object):
    columns = {"difficulty": difficulty} | ({"category": category} if category else {})
    sampler = ReweightSampler(**values)  # type: ignore[arg-type]
    rows = np.arange(len(difficulty))
    return sampler.sample(np.ones(len(rows)), rows, UIDS[: len(rows)], size, seed, columns)


def test_weights_by_hand():
    # Quantiles 1/8, 3/8, 5/8, 7/8 add up to 2: times 2 they add up to the four rows.
    assert ReweightSampler("hard").weights(np.array([1, 2, 3, 4]), "", 4).tolist() == [0.25, 0.75, 1.25, 1.75]
    assert ReweightSampler("easy").weights(np.array([1, 2, 3, 4]), "", 2).tolist() == [0.875, 0.625, 0.375, 0.125]
    assert ReweightSampler("even").weights(np.array([1, 2, 3, 4]), "", 2).tolist() == [0.5] * 4
    # Of equal difficulty, equal weight.
    assert ReweightSampler("hard").weights(np.array([1, 5, 5]), "", 3).tolist() == [0.5 / 1.5, 2 / 1.5, 2 / 1.5]


def test_counts_are_right_on_average_and_exact_in_sum():
    weights, seeds = np.array([0.25, 0.75, 1.25, 1.75]), 2000
    counts = np.array([round_to_counts(weights, UIDS[:4], seed, "math") for seed in range(seeds)])
    assert (counts.sum(axis=1) == 4).all()
    assert ((counts == np.floor(weights)) | (counts == np.ceil(weights))).all()
    # The standard error of a mean is at most sqrt(1/4 / 2000) = 0.011.
    assert counts.mean(axis=0) == pytest.approx(weights, abs=0.045)
    turned = round_to_counts(weights[::-1], UIDS[3::-1], 7, "math")
    assert turned[::-1].tolist() == counts[7].tolist()


def test_domains_keep_their_size_and_have_their_own_directions():
    category, difficulty = ["math"] * 4 + ["code"] * 4, [1.0, 2, 3, 4] * 2
    totals = np.zeros(8)
    for seed in range(400):
        chosen = reweight(difficulty, 8, seed, category, directions={"math": "hard", "code": "easy"})
        counts = np.zeros(8)
        counts[chosen.rows] = chosen.weights
        assert (counts[:4].sum(), counts[4:].sum()) == (4, 4)
        assert len(set(chosen.rows.tolist())) == len(chosen)
        totals += counts
    assert totals / 400 == pytest.approx([0.25, 0.75, 1.25, 1.75, 1.75, 1.25, 0.75, 0.25], abs=0.1)
    half = reweight(difficulty, 4, 1, category, directions={"math": "hard"})
    assert half.weights.sum() == 4
    assert [half.weights[half.rows < 4].sum(), half.weights[half.rows >= 4].sum()] == [2, 2]
    # Chances to be there: of weight 0.5 w, at most 1.
    expected = dict(enumerate([0.125, 0.375, 0.625, 0.875] + [0.5] * 4))
    assert half.inclusion_probabilities.tolist() == pytest.approx([expected[row] for row in half.rows.tolist()])


def test_bad_reweighting_is_refused():
    with pytest.raises(ValueError, match=r"`directions` must be one of hard, easy, even, .* got 'up'"):
        ReweightSampler({"math": "up"})
    with pytest.raises(ValueError, match="`difficulty` must be one of column, score"):
        ReweightSampler(difficulty="loss")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names the domain 'maths'; domains are code, math"):
        reweight([1.0, 2], 2, category=["math", "code"], directions={"maths": "hard"})
    with pytest.raises(ValueError, match="1 of 2 rows have no difficulty"):
        reweight([1.0, np.nan], 2)
    with pytest.raises(ValueError, match="Set `difficulty_column`, or"):
        ReweightSampler().sample(np.ones(2), np.arange(2), UIDS[:2], 2, 0, {})


@pytest.fixture
def levelled(tmp_path: Path, pool_file: str) -> str:
    rows = [json.loads(line) | {"level": n % 6} for n, line in enumerate(Path(pool_file).read_text().splitlines())]
    path = tmp_path / "levels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def config(folder: Path, model: str | None, **values: object) -> SelectionConfig:
    defaults = {"method": "random", "sampling": "reweight", "budget_ratio": 1.0, "reference_model": model}
    return SelectionConfig(output_dir=str(folder), **(defaults | values))  # type: ignore[arg-type]


def test_the_card_counts_repeats(tmp_path: Path, levelled: str):
    pool = load_pool(levelled, category_column="topic", difficulty_column="level")
    options = {"directions": {"story": "hard", "sum": "easy"}}
    selection = select_rows(config(tmp_path / "run", None, method_args=options), "", pool)
    card = read_json(tmp_path / "run" / "selection.json")
    assert card["num_with_repeats"] == 12
    assert card["num_selected"] == len(selection) < 12
    assert all(counts["selected"] == counts["pool"] for counts in card["categories"].values())
    assert card["sampler"]["directions"] == options["directions"]


@pytest.mark.thorough
def test_training_sees_each_row_as_often_as_its_weight_says(tmp_path: Path, tiny_model: str, levelled: str):
    pool = load_pool(levelled, difficulty_column="level")
    selection = select_rows(config(tmp_path / "run", None), "", pool)
    times = dict(zip(selection.rows.tolist(), selection.weights.tolist(), strict=True))
    assert set(times.values()) == {1, 2}
    expected = sorted(row for row, count in times.items() for _ in range(int(count)))
    # `train_sft` reads the file.
    chosen = read_chosen_rows(tmp_path / "run", pool)
    assert chosen.indices.tolist() == expected
    rows = training_rows(pool, chosen, chat=True)
    seen: list[str] = []

    class Watched(SFTTrainer):
        def training_step(self, model, inputs, *args, **kwargs):
            seen.extend(self.processing_class.batch_decode(inputs["input_ids"]))
            return super().training_step(model, inputs, *args, **kwargs)

    arguments = SFTConfig(
        str(tmp_path / "out"),
        num_train_epochs=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    Watched(tiny_model, args=arguments, train_dataset=rows).train()
    for row in range(12):
        problem = f"user\n{pool[row].problem}<|im_end|>"
        assert sum(problem in text for text in seen) == times.get(row, 0)
    # So does the plugin.
    selector = CircuitSeerDataSelector(
        method="random", sampling="reweight", budget_ratio=1.0, difficulty_column="level"
    )
    assert selector.select(levelled)["problem"] == [pool[row].problem for row in expected]


@pytest.mark.thorough
def test_a_score_can_be_the_difficulty(tmp_path: Path, tiny_model: str, pool_file: str):
    options = {"difficulty": "score", "directions": "easy"}
    pool = load_pool(pool_file)
    selection = select_rows(config(tmp_path / "run", tiny_model, method="max_loss", method_args=options), "", pool)
    easiest, hardest = np.argmin(selection.scores), np.argmax(selection.scores)
    assert selection.weights.sum() == 12
    assert selection.inclusion_probabilities[easiest] == 1
    assert selection.inclusion_probabilities[hardest] < 1
