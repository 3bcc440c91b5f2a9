"""Generated pools, the memory of a program, and the slow second way to draw."""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from bench import scale_rows
from bench.process_memory import run_measured
from bench.scale_check import slow_selection
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.sampling.soft import SoftSampler


def test_a_larger_pool_begins_with_a_smaller_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale_rows, "ROWS_PER_FILE", 10)
    for size in (7, 25):
        scale_rows.write_rows(tmp_path / str(size), size, seed=1, near_ratio=0.5)
    small, large = (pq.read_table(tmp_path / str(size)).to_pylist() for size in (7, 25))
    assert (len(small), len(large)) == (7, 25)
    assert large[:7] == small
    problems = [row["problem"] for row in large[:10]]
    assert any(later.startswith(first) for place, first in enumerate(problems) for later in problems[place + 1 :])


def test_the_memory_of_a_child_is_its_own():
    child = "import time; held = bytearray(b'x') * 150_000_000; time.sleep(0.3)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True); print('ended')"
    run = run_measured([sys.executable, "-c", program], os.environ)
    first, second = run.peaks.values()
    assert first.resident < 100_000_000 < 150_000_000 <= second.anonymous <= second.resident < 250_000_000
    assert run.output == "ended\n"


def test_the_slow_way_draws_as_the_sampler(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scale_rows, "ROWS_PER_FILE", 100)
    scale_rows.write_rows(tmp_path / "rows", 300, seed=2)
    pool = pool_from_config(PoolConfig(str(tmp_path / "rows")))
    scores = [float(len(tokenizer(example.problem, add_special_tokens=False)["input_ids"])) for example in pool]
    selection = SoftSampler().sample(np.array(scores), pool.rows, pool.uids, 40, seed=5)
    assert slow_selection(tmp_path / "rows", tokenizer, 40, seed=5) == selection.uids
