"""Which random numbers does a selection draw with? Noise of its own, whatever the method's name, or that of version 0.1.0."""

import hashlib
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.constant import ConstantScorer
from circuitseer_trl.scoring.length import LengthScorer
from circuitseer_trl.selection.methods import METHODS
from circuitseer_trl.selection.noise import noise_seed
from circuitseer_trl.selection.parts import make_parts
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.selection.stored_selection import read_selection
from tests.conftest import PROBLEMS, ROOT
from tests.helpers.inclusion import race_inclusion_probabilities
from tests.helpers.method_inputs import pool_of, select_rows

OLD_RUN = ROOT / "tests" / "data" / "run_0_1_0"
# What these methods need, wherever it is.
INPUTS: dict[str, dict[str, Any]] = {
    "rds": {"queries": "q.jsonl"},
    "gradient_similarity": {"queries": "q.jsonl"},
    "circuit_gradient_similarity": {"queries": "q.jsonl"},
    "influence": {"before": "a", "after": "b"},
    "infra": {"evaluation": "a"},
    "pass_rate": {"verdicts": "v"},
    "combine": {"folders": ["a", "b"]},
}


def seed_of(**values: Any) -> int:
    config = SelectionConfig(output_dir="x", reference_model="m", **values)
    return noise_seed(config, make_parts(config))


@dataclass
class Uneven(Scorer):
    """Scores by a hash of the name, between 1 and `most`."""

    most: float = 2.0

    def score_batch(self, batch: list[Example]) -> list[Row]:  # type: ignore[override]
        return [{"score": 1 + (example.row * 7919 % 101) / 100 * (self.most - 1), "status": "ok"} for example in batch]


def large_pool(size: int) -> Pool:
    texts = [PROBLEMS[index % len(PROBLEMS)] for index in range(size)]
    return pool_of(*(Example(index, f"row-{index}", f"{a} ({index})", b) for index, (a, b) in enumerate(texts)))


@pytest.mark.parametrize("method", ["random", "circuitseer"])
def test_shared_noise_gives_the_rows_of_version_0_1_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str):
    monkeypatch.chdir(ROOT)
    config = SelectionConfig(
        output_dir=str(tmp_path), method=method, reference_model="recipes/demo/base_model", budget_size=5,
        probe_size=3, probe_candidates=6, shared_noise=True,
    )  # fmt: skip
    chosen = select_rows(config, "", load_pool(str(OLD_RUN / "pool.jsonl")))
    assert chosen.uids == read_selection(OLD_RUN / method / "selection.parquet").uids
    assert read_json(tmp_path / "selection.json")["noise"] == {"kind": "shared", "seed": 42}


def test_a_method_draws_the_same_under_any_name(tmp_path: Path):
    random = seed_of(method="random")
    assert seed_of(scorer="circuitseer_trl.scoring.constant:ConstantScorer") == random
    assert seed_of(method="random", sampler="circuitseer_trl.sampling.soft:SoftSampler") == random
    config = SelectionConfig(output_dir="x")
    assert noise_seed(config, make_parts(config, ConstantScorer(), SoftSampler())) == random
    length = seed_of(method="trace_length")
    by_class = {"scorer": "circuitseer_trl.scoring.length:LengthScorer", "method_args": {"length_of": "solution"}}
    assert seed_of(**by_class) == length
    assert noise_seed(config, make_parts(config, LengthScorer("solution"))) == length
    pool = large_pool(60)
    rows = select_rows(SelectionConfig(str(tmp_path / "a"), method="random"), "", pool).rows.tolist()
    for number, part in enumerate((ConstantScorer(), "circuitseer_trl.scoring.constant:ConstantScorer")):
        selector = CircuitSeerDataSelector(scorer=part)
        selector.select(pool, output_dir=tmp_path / str(number))
        assert selector.selection is not None
        assert selector.selection.rows.tolist() == rows


def test_what_makes_another_draw():
    plain = seed_of(method="circuitseer")
    for same in (
        *({"budget_ratio": 0.5}, {"budget_size": 3}, {"budget_tokens": 99}, {"max_batch_tokens": 512}),
        *({"head_detection": "race"}, {"report_to": "wandb"}, {"sampling": "soft"}, {"head_seed": 3}),
        *({"reference_dtype": "float64"}, {"statistic": "variance"}),
    ):
        assert seed_of(method="circuitseer", **same) == plain, same
    changes: list[dict[str, Any]] = [
        *({"selection_seed": 43}, {"length_control": "bin"}, {"sampling": "soft_inverse"}, {"statistic": "entropy"}),
        *({"sink_tokens": 1}, {"head_set": "all"}, {"head_set": "random"}, {"head_set": "random", "head_seed": 3}),
    ]
    assert len({plain, *(seed_of(method="circuitseer", **change) for change in changes)}) == 1 + len(changes)
    assert seed_of(method="random", head_set="all") == seed_of(method="random")  # it has no heads
    moved = {"verdicts": "/elsewhere/v"}
    assert seed_of(method="pass_rate", method_args=moved) == seed_of(method="pass_rate", method_args={"verdicts": "v"})
    band = moved | {"lowest": 0.2}
    assert seed_of(method="pass_rate", method_args=band) != seed_of(method="pass_rate", method_args=moved)
    assert seed_of(method="circuitseer", shared_noise=True, selection_seed=2**64 - 1) == 2**64 - 1
    with pytest.raises(ValueError, match="`shared_noise` must be true or false, got 1"):
        seed_of(shared_noise=1)


# Scorer, combination and sampler of each method, as they are hashed. A class that moves, or a default that changes, would change
# the draws of before.
SOFT, TOP_K = '["sampling.soft:SoftSampler",{}]', '["sampling.top_k:TopKSampler",{}]'
HASHED = {
    "circuitseer": ('["scoring.circuitseer:CircuitSeerScorer",{}]', "null", SOFT),
    "circuitseer_contrast": ('["scoring.circuitseer:CircuitSeerScorer",{}]', "null", TOP_K),
    "random": ('["scoring.constant:ConstantScorer",{}]', "null", SOFT),
    "length": ('["scoring.length:LengthScorer",{}]', "null", SOFT),
    "longest": ('["scoring.length:LengthScorer",{}]', "null", TOP_K),
    "trace_length": ('["scoring.length:LengthScorer",{"length_of":"solution"}]', "null", SOFT),
    "max_loss": ('["scoring.max_loss:MaxLossScorer",{}]', "null", TOP_K),
    "mid_perplexity": ('["scoring.max_loss:MaxLossScorer",{}]', '["scoring.combination:MiddleRank",{}]', TOP_K),
    "ifd": ('["scoring.ifd:IFDScorer",{}]', "null", TOP_K),
    "hes": ('["scoring.hes:HESScorer",{}]', "null", TOP_K),
    "aslec_drop": ('["scoring.aslec:ASLECScorer",{}]', "null", TOP_K),
    "aslec_casl": ('["scoring.aslec:ASLECScorer",{}]', '["scoring.aslec:StepLengthCorrection",{}]', TOP_K),
    "rsr": ('["scoring.rsr:RSRScorer",{}]', "null", TOP_K),
    "dependence": ('["scoring.dependence:DependenceScorer",{}]', "null", TOP_K),
    "attention_influence": (
        '["scoring.dependence:DependenceScorer",{"rise":"ratio"}]',
        '["scoring.combination:CategoryRank",{}]',
        TOP_K,
    ),
    "quality": ('["scoring.quality:QualityScorer",{}]', "null", TOP_K),
    "diversity": ('["scoring.category:CategoryScorer",{}]', "null", '["sampling.stratified:StratifiedSampler",{}]'),
    "select2reason": ('["scoring.difficulty:DifficultyScorer",{}]', '["scoring.combination:JointRank",{}]', TOP_K),
    "rds": ('["scoring.rds:RDSScorer",{}]', "null", '["sampling.round_robin:RoundRobinSampler",{}]'),
    "gradient_similarity": (
        '["scoring.gradient_similarity:GradientSimilarityScorer",{}]',
        "null",
        '["sampling.round_robin:RoundRobinSampler",{}]',
    ),
    "circuit_gradient_similarity": (
        '["scoring.gradient_similarity:CircuitGradientScorer",{}]',
        "null",
        '["sampling.round_robin:RoundRobinSampler",{}]',
    ),
    "influence": ('["scoring.influence:InfluenceScorer",{}]', "null", '["sampling.prune:PruneSampler",{}]'),
    "infra": ('["scoring.infra:InfraScorer",{}]', "null", '["sampling.reweight:ReweightSampler",{}]'),
    "pass_rate": ('["scoring.pass_rate:PassRateScorer",{}]', '["scoring.pass_rate:PassRateBand",{}]', SOFT),
    "combine": ('["scoring.stored:StoredScorer",{}]', "null", TOP_K),
}


HEADS = {
    "circuitseer": '["detected"]',
    "circuitseer_contrast": '["detected","contrast"]',
    "dependence": '["detected"]',
    "attention_influence": '["detected","retrieval"]',
    "circuit_gradient_similarity": '["detected"]',
}


def expected_noise(method: str) -> int:
    scorer, combination, sampler = (part.replace('["', '["circuitseer_trl.') for part in HASHED[method])
    heads = HEADS.get(method, "null")
    text = (
        f'{{"combination":{combination},"head_set":{heads},"length_control":"none","sampler":{sampler},"scorer":{scorer},'
        '"seed":42}'
    )
    return int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest()[:8], 16)


def test_the_noise_of_every_method_stays_what_it_is():
    found = {name: seed_of(method=name, method_args=INPUTS.get(name)) for name in METHODS}
    assert found == {name: expected_noise(name) for name in METHODS}
    assert len(set(found.values())) == len(found)


def independent(left: np.ndarray, right: np.ndarray, size: int) -> tuple[float, float]:
    """Mean and a bound of the standard deviation of the rows that independent draws with these weights share."""
    both = race_inclusion_probabilities(left, size) * race_inclusion_probabilities(right, size)
    return float(both.sum()), math.sqrt(float((both * (1 - both)).sum()))


def test_two_methods_share_as_many_rows_as_chance_says():
    size, total, uids = 400, 4000, [f"row-{index}" for index in range(4000)]
    rng = np.random.default_rng(0)
    weights = {"random": np.ones(total), "circuitseer": rng.lognormal(sigma=0.1, size=total)}
    weights |= {"length": rng.lognormal(size=total), "trace_length": rng.lognormal(size=total)}
    keys = [(method, seed) for method in weights for seed in (1, 2, 42)]

    def rows(method: str, seed: int) -> set[int]:
        return set(SoftSampler().choose(weights[method], uids, size, seed)[0].tolist())

    own = {key: rows(key[0], seed_of(method=key[0], selection_seed=key[1])) for key in keys}
    for left, right in itertools.combinations(keys, 2):
        mean, deviation = independent(weights[left[0]], weights[right[0]], size)
        assert abs(len(own[left] & own[right]) - mean) < 5 * deviation, (left, right)
    # With the seed alone, most rows of a nearly even draw are those of the random one.
    assert len(rows("random", 42) & rows("circuitseer", 42)) > 0.6 * size


def test_two_selections_share_as_many_rows_as_chance_says(tmp_path: Path, tiny_model: str):
    pool, size = large_pool(480), 120

    def rows(method: str, seed: int, **values: Any) -> set[int]:
        folder = f"{method}-{seed}-{values.get('shared_noise')}"
        config = SelectionConfig(
            str(tmp_path / folder), method=method, reference_model=tiny_model, head_set="all", budget_size=size,
            selection_seed=seed, **values,
        )  # fmt: skip
        return set(select_rows(config, "", pool).rows.tolist())

    selector = CircuitSeerDataSelector(scorer=Uneven(), budget_size=size, seed=1)
    selector.select(pool)
    assert selector.selection is not None
    found = [rows("random", 1), rows("random", 2), rows("circuitseer", 1), set(selector.selection.rows.tolist())]
    for left, right in itertools.combinations(found, 2):
        # 120 * 120 / 480 = 30 by chance; standard deviation sqrt(30 * 0.75^2) = 4.1. Weights vary too little to change it much.
        assert 10 < len(left & right) < 50
    shared = [rows(method, 1, shared_noise=True) for method in ("random", "circuitseer")]
    assert len(shared[0] & shared[1]) > 70


def test_subsets_are_nested_across_budgets_of_rows_and_of_tokens(tmp_path: Path, tiny_model: str):
    pool = large_pool(60)

    def chosen(name: str, **budget: int) -> list[str]:
        config = SelectionConfig(str(tmp_path / name), method="length", reference_model=tiny_model, **budget)  # type: ignore[arg-type]
        return select_rows(config, "", pool).uids

    orders = [chosen("5", budget_size=5), chosen("20", budget_size=20), chosen("60", budget_size=60)]
    orders += [chosen("tokens", budget_tokens=300), chosen("more", budget_tokens=1200)]
    for order in orders:
        assert order == orders[2][: len(order)]
    assert 0 < len(orders[3]) < len(orders[4]) < 60


def test_a_draw_without_chance_has_no_noise(tmp_path: Path):
    pool = large_pool(20)
    for name, values in {"whole": {"budget_ratio": 1.0}, "top": {"sampling": "top_k", "budget_size": 3}}.items():
        select_rows(SelectionConfig(str(tmp_path / name), method="random", **values), "", pool)  # type: ignore[arg-type]
        assert read_json(tmp_path / name / "selection.json")["noise"] is None
    select_rows(SelectionConfig(str(tmp_path / "half"), method="random", budget_ratio=0.5), "", pool)
    noise = read_json(tmp_path / "half" / "selection.json")["noise"]
    assert noise == {"kind": "own", "seed": expected_noise("random")}
