"""Tasks of an array share the folders of a selection, in any order, and an ordinary run finishes with the same bytes."""

from pathlib import Path

import pytest

from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed.slurm_array import SlurmArray
from circuitseer_trl.modeling import stored_losses
from circuitseer_trl.pool import row_shards
from circuitseer_trl.scripts import score_pool


def be_task(monkeypatch: pytest.MonkeyPatch, number: int, first: int, last: int, count: int | None = None) -> None:
    values = {"ID": number, "MIN": first, "MAX": last, "COUNT": count or last - first + 1}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))


def test_an_array_and_an_ordinary_run_write_the_same(
    tmp_path: Path,
    tiny_model: str,
    pool_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for module in (stored_losses, row_shards):
        monkeypatch.setattr(module, "ROWS_PER_SHARD", 4)  # three shards of losses, and three of scores

    def score(folder: str, *words: str) -> str:
        flags = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--method", "max_loss", *words]
        assert run_command(score_pool.main, [*flags, "--output_dir", str(tmp_path / folder)]) == 0
        return capsys.readouterr().out

    def parts() -> list[str]:
        return sorted(str(path.relative_to(tmp_path / "array")) for path in (tmp_path / "array").rglob("part-*"))

    be_task(monkeypatch, 1, 1, 2)
    losses = [f"losses/part-00000000{shard}.parquet" for shard in range(3)]
    said = score("array", "--executor", "slurm")
    assert parts() == [losses[0], losses[2]]
    assert said.startswith("Response losses: task 1 of 2 made 2 shards. 1 of 3 in ")
    be_task(monkeypatch, 2, 1, 2)
    said = score("array", "--executor", "slurm")  # the losses are whole now, so it goes on with the scores
    assert parts() == [*losses, "scores/part-000000001.parquet"]
    assert said.startswith("Scores: task 2 of 2 made 1 shards. 2 of 3 in ")
    writing = tmp_path / "array" / "losses" / ".part-000000000.parquet.1.tmp"
    writing.touch()
    score("array", "--executor", "slurm")
    assert writing.exists()  # another task may be writing it
    score("array")
    assert not writing.exists()
    score("whole")
    for name in ("scores", "losses"):
        found, expected = (
            [path.read_bytes() for path in sorted((tmp_path / folder / name).iterdir())]
            for folder in ("array", "whole")
        )
        assert found == expected


def test_what_is_no_array_is_one_line(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        ValueError, match=r"SLURM_ARRAY_TASK_ID is not set. Submit the command with `sbatch --array=0-15`"
    ):
        SlurmArray.of_this_job({})
    be_task(monkeypatch, 7, 5, 7, count=2)
    with pytest.raises(ValueError, match="an array without gaps, got 2 tasks from 5 to 7"):
        SlurmArray.of_this_job()
