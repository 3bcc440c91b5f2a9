"""HES, ASLEC, RSR and dependence on a trained model's word problems, against the slow way of `slow_signals`."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SYSTEM_PROMPT
from circuitseer_trl.demo.word_problems import make_pool
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.aslec import StepLengthCorrection
from tests.conftest import ROOT
from tests.helpers.method_inputs import compute_scores, config, pool_of
from tests.helpers.slow_signals import SlowSolution, casl_of, slow_solution, step_characters

BASE_MODEL = str(ROOT / "recipes" / "demo" / "base_model")
NUM_ROWS = 20


def signals(folder: Path, model: str, pool: Pool) -> tuple[dict[str, list[float]], list[list[int]]]:
    """Scores of all methods by the package, and the heads that `dependence` silenced."""
    methods = {
        "hes": {"method_args": {"entropy_share": 0.1}},
        "rsr": {"method_args": {"max_rank": 5}},
        "aslec_drop": {},
        "dependence": {"head_set": "random", "head_ratio": 0.1},
    }
    found = {}
    for name, values in methods.items():
        table = compute_scores(config(folder / name, model, name, **values), SYSTEM_PROMPT, pool).table
        found[name] = table["score"].to_pylist()
        if name == "aslec_drop":
            found["aslec_casl"] = StepLengthCorrection().combine(table, None).tolist()
    return found, read_json(folder / "dependence" / "scores.json")["heads"]


def slow_solutions(model: str, pool: Pool, heads: list[list[int]]) -> list[SlowSolution]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    silenced = [(layer, head) for layer, head in heads]
    return [
        slow_solution(loaded, tokenizer, example.problem, example.completion, SYSTEM_PROMPT, silenced)
        for example in pool
    ]


def slowly(solutions: list[SlowSolution]) -> dict[str, list[float]]:
    return {
        "hes": [each.hes(0.1) for each in solutions],
        "rsr": [each.rsr(5) for each in solutions],
        "aslec_drop": [each.aslec_drop("lines") for each in solutions],
        "aslec_casl": casl_of(solutions, "lines"),
        "dependence": [each.dependence() for each in solutions],
    }


def test_signals_of_word_problems(tmp_path: Path):
    rows = make_pool(NUM_ROWS, seed=5)
    pool = pool_of(
        *(Example(row, f"r{row}", str(each["problem"]), str(each["solution"])) for row, each in enumerate(rows))
    )
    found, heads = signals(tmp_path, BASE_MODEL, pool)
    expected = slowly(slow_solutions(BASE_MODEL, pool, heads))
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
    assert max(expected["dependence"]) > 0.01


def test_the_walk_finds_steps():
    assert step_characters("ab\ncd\n\n ef\n", "lines") == [0, 3, 8]
    assert step_characters("It is 3.5 m. So? Yes!", "sentences") == [0, 13, 17]
