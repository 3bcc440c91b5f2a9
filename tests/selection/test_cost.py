"""What a run is said to cost before it starts, and after."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import DryRunConfig, SelectionConfig
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.modeling.loading import load_model
from circuitseer_trl.modeling.memory import activation_bytes, sweep_tokens
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts import find_heads, score_pool, select_data
from circuitseer_trl.selection.cost import FileSize, StepCost, duration, estimate, size_of_files
from circuitseer_trl.selection.methods import METHODS
from circuitseer_trl.selection.reckoning import Reckoned, reckon, reckoning, size_text
from circuitseer_trl.selection.steps import SelectionSteps
from tests.helpers.method_inputs import needed_args

STEPS = {"find-heads": find_heads, "score-pool": score_pool, "select-data": select_data}

LARGER = ["1,000,000", "10,000,000", "100,000,000", "1,000,000,000"]


@pytest.mark.parametrize("step", STEPS)
def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(
    step: str, tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]
):
    arguments = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", str(tmp_path / "out")]
    STEPS[step].main([*arguments, "--probe_size", "4", "--dry_run", "--price_per_hour", "2"])
    lines = capsys.readouterr().out.splitlines()
    scored = step != "find-heads"
    expected = [
        "step",
        "losses",
        "heads",
        *["scores"] * scored,
        "Together",
        "Measured",
        "Reckoned",
        "rows",
        "-",
        *LARGER,
    ]
    assert [line.split()[0].strip("-") or "-" for line in lines] == expected
    assert lines[-1].split()[3] == ("976,563" if scored else "-")
    assert not (tmp_path / "out").exists()


def test_larger_pools_are_reckoned_by_hand(pool_file: str):
    """10 s for 100 candidates of 1,000; 36 s for 4 rows of a probe of 8; 7.2 s for 200 rows, all of which are scored."""
    costs = [
        StepCost("losses", "", 10, 0, None, num_rows=100, max_rows=1000),
        StepCost("heads", "", 36, 0, None, num_rows=4, max_rows=8),
        StepCost("scores", "", 7.2, 0, None, num_rows=200, file_size=FileSize(per_file=1000, per_row=40)),
    ]
    # 100 s, 72 s and 36,000 s; a file for each 1,024 rows.
    assert reckon(costs, 10**6) == Reckoned(10**6, 36_172 / 3600, 977, 977_000 + 40_000_000)
    assert reckon(costs[:2], 10**9) == Reckoned(10**9, 172 / 3600, 0, 0)
    assert reckon(costs, 50).hours == pytest.approx((5 + 72 + 1.8) / 3600)
    last = reckoning(costs, load_pool(pool_file), price_per_hour=3).splitlines()[-1].split()
    assert last[:6] == ["1,000,000,000", "10,000.0", "30,000.14", "976,563", "41.0", "GB"]
    assert [size_text(each) for each in (0, 999, 1000, 2.5e15)] == ["0.0 bytes", "999.0 bytes", "1.0 kB", "2.5 PB"]


def test_bytes_of_files_are_those_of_real_ones(tmp_path: Path):
    def table(count: int) -> pa.Table:
        chance = np.random.default_rng(count)
        names = [chance.bytes(8).hex() for _ in range(count)]
        return pa.table({"uid": names, "score": chance.random(count), "status": ["ok"] * count})

    write_table(tmp_path / "real", table(1024))
    size, real = size_of_files(table(16)), (tmp_path / "real").stat().st_size
    assert 0.8 * real < size.per_file + 1024 * size.per_row < 1.5 * real


def test_a_price_needs_a_dry_run():
    with pytest.raises(ValueError, match=r"`price_per_hour` is for `--dry_run`"):
        DryRunConfig(price_per_hour=2.0)
    with pytest.raises(ValueError, match=r"`price_per_hour` must be a number above 0, got 0"):
        DryRunConfig(dry_run=True, price_per_hour=0)


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
