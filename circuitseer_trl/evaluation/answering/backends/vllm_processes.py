"""What do the processes of a vLLM engine get, and how do they end? Nothing here needs vLLM.

An engine is a process of its own, with a worker for each device. vLLM ends them where the process that asked for them ends by
itself. A signal that kills that process leaves them, with the memory of the GPUs: `end_with_owner` prevents this.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from circuitseer_trl.children import die_with

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# An engine's processes would take these for their own: torch then joins the launcher's store, and waits there without end.
_LAUNCH_VARIABLES = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCH_PREFIXES = ("TORCHELASTIC_", "GROUP_", "ROLE_")
OWNER_VARIABLE = "CIRCUITSEER_ENGINE_OWNER"


def devices_of_rank(visible: Sequence[str], local_rank: int, tensor_parallel_size: int) -> list[str]:
    """The GPUs of one process: as many as its engine splits the model over. Empty on a machine without GPUs."""
    if not visible:
        if tensor_parallel_size > 1:
            raise ValueError(
                f"`tensor_parallel_size: {tensor_parallel_size}` splits a model over GPUs, and this machine has none. Leave "
                "it out: on a CPU one engine uses all cores."
            )
        if local_rank > 0:
            raise ValueError(
                "`backend: vllm` on a machine without GPUs runs in one process, whose engine uses all cores. Start it "
                "without a launcher."
            )
        return []
    start = local_rank * tensor_parallel_size
    if start + tensor_parallel_size > len(visible):
        raise ValueError(
            f"Process {local_rank} needs the GPUs {start} to {start + tensor_parallel_size - 1}, but {len(visible)} are "
            "visible. The number of processes times `tensor_parallel_size` must not be more than the GPUs of a machine."
        )
    return list(visible[start : start + tensor_parallel_size])


def check_heads(name: str, config: "PretrainedConfig", tensor_parallel_size: int) -> None:
    """Raises if heads cannot be divided: each GPU has as many query heads, and its key heads alone or with others."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    keys = getattr(text, "num_key_value_heads", None) or heads

    def fits(size: int) -> bool:
        return heads % size == 0 and (keys % size == 0 or size % keys == 0)

    if not fits(tensor_parallel_size):
        raise ValueError(
            f"The {heads} query heads and {keys} key heads of {name} cannot be divided among `tensor_parallel_size: "
            f"{tensor_parallel_size}` GPUs. Use {' or '.join(str(size) for size in range(1, heads + 1) if fits(size))}."
        )


@contextmanager
def engine_environment(local_rank: int, tensor_parallel_size: int) -> Iterator[None]:
    """What an engine's processes should see of the environment: their GPUs, and nothing of a launch."""
    import torch

    before = dict(os.environ)
    numbers = [str(number) for number in range(torch.cuda.device_count())]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = devices_of_rank(named.split(",") if named and numbers else numbers, local_rank, tensor_parallel_size)
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a forked process keeps this one's list of GPUs
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    for name in list(os.environ):
        if name in _LAUNCH_VARIABLES or name.startswith(_LAUNCH_PREFIXES):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def end_with_owner() -> None:
    """Has an engine end with the process that opened it. vLLM calls this in each of its processes, by our entry point.

    A worker is a child of the engine and ends with it. Processes of other engines than ours are left alone.
    """
    owner = int(os.environ.get(OWNER_VARIABLE, "0"))
    if owner in (0, os.getpid()):
        return
    if os.getppid() == owner:
        die_with(owner)
    elif not os.path.exists(f"/proc/{owner}"):  # it was killed while this process started
        os.kill(os.getpid(), signal.SIGTERM)
