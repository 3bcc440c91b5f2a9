"""Ray's actors write what one process writes, whatever ends while they work."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.launch import launch, start, wait_until

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
    """Two nodes of one place each, beside a head without one."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def words(folder: Path, pool: Path, model: str) -> list[object]:
    return [
        *("--dataset_name", pool, "--reference_model", model, "--output_dir", folder),
        *("--probe_size", 10, "--head_ratio", 0.25, "--budget_ratio", 0.25),
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


@pytest.mark.engine
def test_a_node_is_lost_in_the_middle(tmp_path: Path, tiny_model: str, pool: Path, cluster: Any):
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
    node = sorted(cluster.worker_nodes, key=lambda node: node.node_ip_address)[0]
    cluster.remove_node(node, allow_graceful=False)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors[-3000:]
    assert "Selected 24 of 96 rows" in output
    whole = launch("tests.programs.small_shards", *words(tmp_path / "one", pool, tiny_model))
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert files(tmp_path / "ray") == files(tmp_path / "one")
