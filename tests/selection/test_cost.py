"""What a run is said to cost before it starts, and after."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.modeling.loading import load_model
from circuitseer_trl.modeling.memory import activation_bytes, sweep_tokens
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts import find_heads, score_pool, select_data
from circuitseer_trl.selection.cost import duration, estimate
from circuitseer_trl.selection.methods import METHODS
from circuitseer_trl.selection.steps import SelectionSteps
from tests.helpers.method_inputs import needed_args

STEPS = {"find-heads": find_heads, "score-pool": score_pool, "select-data": select_data}


@pytest.mark.parametrize("step", STEPS)
def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(
    step: str, tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", str(tmp_path / "out")]
    STEPS[step].main([*arguments, "--probe_size", "4", "--dry_run"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "step",
        "losses",
        "heads",
        *["scores"] * (step != "find-heads"),
        "Together",
    ]
    assert not (tmp_path / "out").exists()


def test_a_run_ends_with_what_it_cost(
    tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]
):
    select_data.main(
        [
            "--dataset_name",
            pool_file,
            "--reference_model",
            tiny_model,
            "--output_dir",
            str(tmp_path),
            "--method",
            "length",
        ]
    )
    assert " s with 1 process, " in capsys.readouterr().out


def test_the_operations_are_those_of_the_forwards(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    config = SelectionConfig(
        output_dir=str(tmp_path), reference_model=tiny_model, probe_size=3, probe_format="plain", head_detection="race"
    )
    losses, heads, scores = estimate(SelectionSteps.from_config(config, ChatSettings("")), pool)
    assert "at most" in heads.work
    model = load_model(tiny_model)
    decoder = sum(p.numel() for layer in model.get_decoder().layers for p in layer.parameters() if p.ndim == 2)
    tokens = [len(model_tokens) for model_tokens in (np.zeros(len(e.problem) + 1 + len(e.completion)) for e in pool)]
    # Two operations a weight and token; attention, the head and padding come on top, and tokens are at most characters.
    for cost, least in ((losses, 0.1), (heads, 0.1)):
        assert cost.operations > least * 2 * decoder * np.mean(tokens) * (len(pool) if cost is losses else 3)
        assert cost.seconds > 0
        assert cost.memory_bytes is not None
        assert cost.memory_bytes > model.get_memory_footprint()
    assert heads.operations > losses.operations / 12 * 3
    assert scores.operations > 0


def test_no_more_rows_than_memory_holds(tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    config = load_model(tiny_model).config
    size = activation_bytes(config, torch.float32)
    assert size == 4 * (6 * config.hidden_size + 3 * config.intermediate_size)
    assert activation_bytes(config, torch.bfloat16) == size / 2
    cpu = torch.device("cpu")
    for free, expected in ((2 * 1000 * size, 512), (2 * 1024 * size, 1024), (10**15, 2**13)):
        monkeypatch.setattr("circuitseer_trl.modeling.memory.free_bytes", lambda device, free=free: free)
        assert sweep_tokens(config, torch.float32, cpu) == expected


def test_memory_is_kept_for_a_block_only():
    with reuse_freed_memory():
        total = torch.ones(2**24).sum()
    assert total == 2**24


def test_durations():
    assert [duration(seconds) for seconds in (1.25, 119, 3000, 36000)] == ["1.2 s", "119.0 s", "50 min", "10.0 h"]


@pytest.mark.thorough
@pytest.mark.parametrize("method", list(METHODS))
def test_a_dry_run_knows_every_method(tmp_path: Path, tiny_model: str, pool_file: str, method: str):
    """Also those that read files made for the whole pool, of which a dry run tries some rows."""
    rows = [json.loads(line) for line in Path(pool_file).read_text().splitlines()]
    larger = tmp_path / "pool.jsonl"
    lines = [row | {"problem": f"{row['problem']} ({number})"} for number in range(3) for row in rows]
    larger.write_text("".join(json.dumps(row) + "\n" for row in lines))
    pool = load_pool(str(larger), category_column="topic")
    arguments = needed_args(method, pool, tiny_model, tmp_path / "inputs")
    config = SelectionConfig(
        str(tmp_path), method=method, reference_model=tiny_model, probe_size=6, method_args=arguments
    )
    costs = estimate(SelectionSteps.from_config(config, ChatSettings("")), pool)
    assert costs[-1].step == "scores"
    assert costs[-1].work == "36 rows"
    assert not (tmp_path / "scores").exists()
