"""Ray's actors write what one process writes, whatever ends while they work."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from circuitseer_trl.distributed.executors import using
from circuitseer_trl.distributed.ray_executor import ray_actors
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling import stored_losses
from circuitseer_trl.pool import row_shards
from circuitseer_trl.scripts import select_data
from tests.helpers.launch import start, wait_until

pytest.importorskip("ray")
NUM_ROWS = 96


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rows = [
        {"problem": f"What is {i} + {i % 7}?" * (i % 5 + 1), "solution": f"\\boxed{{{i}}}"} for i in range(NUM_ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one place each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def words(folder: Path, pool: Path, model: str) -> list[object]:
    return [
        *("--dataset_name", pool, "--reference_model", model, "--output_dir", folder),
        *("--probe_size", 10, "--head_ratio", 0.25, "--budget_ratio", 0.25),
    ]


@pytest.fixture
def whole(tmp_path: Path, pool: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What one process writes."""
    for module in (stored_losses, row_shards):
        monkeypatch.setattr(module, "ROWS_PER_SHARD", 8)
    select_data.main([str(word) for word in words(tmp_path / "whole", pool, tiny_model)])
    return files(tmp_path / "whole")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


@pytest.mark.engine
def test_a_shard_that_fails(tmp_path: Path):
    """It goes to another actor, but not for ever, and not if the input is wrong. The others are made."""

    def dies_once(shard: int) -> pa.Table:
        if shard == 1 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return pa.table({"value": [shard]})

    def fails(shard: int) -> pa.Table:
        if shard == 1:
            raise RuntimeError("disk on fire")
        return pa.table({"value": [shard]})

    def refuses(shard: int) -> pa.Table:
        raise ValueError("no such column")

    with ray_actors(2, None) as actors, using(actors):
        made = run_shards(tmp_path / "once", 4, {}, dies_once, "Test")
        assert made.read_all()["value"].to_pylist() == [0, 1, 2, 3]
        with pytest.raises(RuntimeError, match=r"(?s)Shard 1 .*failed on an actor 3 times.*disk on fire"):
            run_shards(tmp_path / "poisoned", 6, {}, fails, "Test")
        numbers = [path.name[5:-8].lstrip("0") for path in sorted((tmp_path / "poisoned").glob("part-*"))]
        assert numbers == ["", "2", "3", "4", "5"]
        with pytest.raises(ValueError, match="no such column"):
            run_shards(tmp_path / "refused", 2, {}, refuses, "Test")


@pytest.mark.engine
def test_a_node_is_lost_in_the_middle(
    tmp_path: Path, tiny_model: str, pool: Path, cluster: Any, whole: dict[str, bytes]
):
    joined = ("--executor", "ray", "--ray_address", cluster.address)
    run = start(
        "tests.programs.small_shards",
        *words(tmp_path / "ray", pool, tiny_model),
        *joined,
        environment={"SHARD_SECONDS": "0.2"},
    )
    scores = tmp_path / "ray" / "scores"
    assert wait_until(lambda: len(list(scores.glob("part-*"))) >= 3 or run.poll() is not None, 120)
    assert run.poll() is None, run.communicate()
    [node] = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors[-3000:]
    assert "Selected 24 of 96 rows" in output
    assert files(tmp_path / "ray") == whole
