"""Which Ray cluster has the actors? One that runs and is joined, or one that is started on this machine for a command."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from circuitseer_trl.extras import require_extra

CONNECT_SECONDS, JOIN_SECONDS = 10.0, 40.0
_JOIN = "import sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


@contextmanager
def ray_cluster(num_actors: int | None, address: str | None) -> Iterator[str]:
    """Joins a Ray cluster for the block, or starts one and ends it. Gives its address.

    A process that has joined a cluster already stays there.

    Args:
        num_actors: Number of places of a cluster that is started; None is one for each CPU.
        address: None takes `RAY_ADDRESS`, and starts a cluster where that is not set.

    Raises:
        ImportError: Ray is not installed.
        ValueError: There is no such cluster, or it has no GPU and this machine has one.
    """
    require_extra("ray", "`executor: ray`", "ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        check_cluster(address)
    import ray

    joined = not ray.is_initialized()
    if joined:
        places: dict[str, Any] = {"num_cpus": num_actors, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **places)
    try:
        if torch.cuda.is_available() and not ray.cluster_resources().get("GPU"):
            raise ValueError(
                "This machine has a GPU, but the Ray cluster has none. Start Ray with GPUs (`ray start --num-gpus N`), or set "
                "CUDA_VISIBLE_DEVICES to nothing to compute without them."
            )
        yield ray.get_runtime_context().gcs_address
    finally:
        if joined:
            ray.shutdown()


def check_cluster(address: str) -> None:
    """Raises if no cluster can be joined at an address. Ray itself would try for minutes, so that another process tries.

    Raises:
        ValueError: The address is none, or no cluster answers there.
    """
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not host or not port.isdigit() or "/" in host:
            raise ValueError(
                f"`ray_address` must be HOST:PORT of a cluster's head, `auto` or `local`, got {address!r}."
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ValueError(_no_cluster(address, str(error))) from error
    try:
        words = [sys.executable, "-c", _JOIN, address]
        done = subprocess.run(words, capture_output=True, text=True, timeout=JOIN_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(_no_cluster(address, f"no answer of Ray in {JOIN_SECONDS:.0f} s")) from None
    if done.returncode != 0:
        raise ValueError(_no_cluster(address, ([line for line in done.stderr.splitlines() if line] or ["unknown"])[-1]))


def _no_cluster(address: str, reason: str) -> str:
    return (
        f"No Ray cluster can be joined at {address} ({reason}). Start one with `ray start --head`, or leave `ray_address` and "
        "RAY_ADDRESS out, and one is started on this machine."
    )
