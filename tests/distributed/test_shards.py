"""Shards: what is there is not done again, other inputs are refused, and errors and results reach every process."""

from pathlib import Path

import pyarrow as pa
import pytest

from circuitseer_trl.distributed.shards import run_shards
from tests.helpers.launch import launch


def make(folder: Path, made_from: dict[str, object], calls: list[int]) -> list[int]:
    def compute(shard: int) -> pa.Table:
        calls.append(shard)
        return pa.table({"value": [shard * 10, shard * 10 + 1]})

    return run_shards(folder, 3, made_from, compute, "Test")["value"].to_pylist()


def test_missing_shards_only(tmp_path: Path):
    calls: list[int] = []
    assert make(tmp_path / "x", {"seed": 1}, calls) == [0, 1, 10, 11, 20, 21]
    (tmp_path / "x" / "part-00001.parquet").unlink()
    assert make(tmp_path / "x", {"seed": 1}, calls) == [0, 1, 10, 11, 20, 21]
    assert calls == [0, 1, 2, 1]


def test_other_inputs_are_refused_and_named(tmp_path: Path):
    make(tmp_path / "x", {"seed": 1, "model": "a"}, [])
    with pytest.raises(ValueError, match="Changed: seed: 1 then, 2 now") as error:
        make(tmp_path / "x", {"seed": 2, "model": "a"}, [])
    assert "model" not in str(error.value).split("Changed")[1]


def test_a_failing_shard_leaves_no_half_file(tmp_path: Path):
    def compute(shard: int) -> pa.Table:
        if shard == 1:
            raise RuntimeError("disk on fire")
        return pa.table({"value": [shard]})

    with pytest.raises(RuntimeError, match="disk on fire"):
        run_shards(tmp_path / "x", 3, {}, compute, "Test")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["part-00000.parquet"]


@pytest.mark.engine
def test_selection_is_byte_identical_for_any_number_of_processes(tmp_path: Path, tiny_model: str, pool_file: str):
    def select(folder: str, num_processes: int) -> dict[str, bytes]:
        done = launch(
            "circuitseer_trl.scripts.select_data",
            *("--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", tmp_path / folder),
            *("--probe_size", 5, "--head_ratio", 0.25, "--budget_ratio", 0.5),
            num_processes=num_processes,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"by {num_processes} process(es)" in done.stdout
        assert "Selected 6 of 12 rows by circuitseer" in done.stdout
        assert done.stdout.count("Selected") == 1  # rank 0 alone speaks
        return {
            str(path.relative_to(tmp_path / folder)): path.read_bytes()
            for path in (tmp_path / folder).rglob("*.parquet")
        }

    one, two = select("one", 1), select("two", 2)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.engine
def test_an_error_on_one_rank_ends_them_all(tmp_path: Path):
    done = launch("tests.programs.failing_rank", tmp_path / "x", num_processes=2, timeout=120)
    assert done.returncode != 0
    assert "Another process failed. rank 1: RuntimeError: rank 1 lost its disk" in done.stderr
