"""Who computes shards is said in one line where it cannot be, before any work."""

import socket

import pytest

from circuitseer_trl.configs import ExecutorConfig
from circuitseer_trl.distributed import ray_cluster
from circuitseer_trl.distributed.executors import chosen_executor, executing, using
from circuitseer_trl.distributed.ray_executor import RayActors


def test_an_executor_is_chosen_for_a_block():
    before, actors = type(chosen_executor()), RayActors()
    with using(actors):
        assert chosen_executor() is actors
    assert type(chosen_executor()) is before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"executor": "dask"}, "`executor` must be one of ranks, ray, slurm, got 'dask'"),
        ({"executor": "ray", "num_actors": 0}, "`num_actors` must be"),
        ({"num_actors": 2}, "`num_actors` is for `executor: ray`. Set that, or leave `num_actors` out"),
        ({"executor": "slurm", "ray_address": "a:1"}, "`ray_address` is for `executor: ray`"),
    ],
)
def test_keys_that_do_not_fit(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ExecutorConfig(**values)


def test_a_launch_of_several_ranks_has_no_ray(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match="Start the command without `accelerate launch`"),
        executing(ExecutorConfig("ray")),
    ):
        pass


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "head:port", ":6379"])
def test_what_is_no_address(address: str):
    with pytest.raises(ValueError, match=f"`ray_address` must be HOST:PORT .*, got '{address}'"):
        ray_cluster.check_cluster(address)


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ValueError, match=rf"No Ray cluster can be joined at 127.0.0.1:{port} \(.*refused\)"):
            ray_cluster.check_cluster(f"127.0.0.1:{port}")
        unused.listen()  # something answers, but it is not Ray
        monkeypatch.setattr(ray_cluster, "_JOIN", "import time; time.sleep(60)")
        monkeypatch.setattr(ray_cluster, "JOIN_SECONDS", 0.2)
        with pytest.raises(ValueError, match=r"\(no answer of Ray in 0 s\). Start one with `ray start --head`"):
            ray_cluster.check_cluster(f"127.0.0.1:{port}")
