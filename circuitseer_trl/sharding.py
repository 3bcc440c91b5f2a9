"""Long work in fixed shards: any number of processes, killed and run again, gives the same bytes.

Which rows make a shard follows from data and parameters alone. A shard is one Parquet file, written whole; the manifest
beside the folder says what the shards were made from, so that a changed input is refused instead of mixed in.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from circuitseer_trl.artifacts import fingerprint, read_json, read_table, write_json, write_table
from circuitseer_trl.memory import reuse_freed_memory

Result = TypeVar("Result")

# Share of the rows that may end in an error; more of them stop the run.
MAX_ERROR_SHARE = 0.01


def process_state() -> PartialState:
    """The processes of this launch, joined on first use.

    Without CUDA accelerate has to be told so: else it takes every process of a launch for a launch of one, without a word.
    """
    return PartialState() if PartialState._shared_state else PartialState(cpu=not torch.cuda.is_available())


def on_all_ranks(work: Callable[[], Result]) -> Result:
    """Runs `work` on every rank; where it fails on any, all of them raise, so that none waits for the others for ever."""
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    state = process_state()
    if state.num_processes > 1:
        messages = gather_object([f"{type(error).__name__}: {error}" if error else ""])
        failed = [f"rank {rank}: {message}" for rank, message in enumerate(messages) if message]
        if failed and error is None:
            raise RuntimeError("Another process failed. " + "; ".join(failed))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def on_main_rank(work: Callable[[], Result]) -> Result:
    """Runs `work` on rank 0 and gives its result to every rank; an error there is raised everywhere."""
    state = process_state()
    holder: list[Any] = [on_all_ranks(lambda: work() if state.is_main_process else None)]
    if state.num_processes > 1:
        broadcast_object_list(holder)
    return holder[0]


def say(text: str) -> None:
    """Prints on rank 0."""
    if process_state().is_main_process:
        print(text, flush=True)


def check_manifest(path: Path, made_from: dict[str, Any]) -> None:
    """Writes what a folder of shards is made from, or raises where it was made from something else."""
    expected = {"fingerprint": fingerprint(made_from), "made_from": made_from}
    if not path.exists():
        write_json(path, expected)
        return
    found = read_json(path)
    if found["fingerprint"] != expected["fingerprint"]:
        before = found["made_from"]
        changed = [
            f"{key}: {before.get(key)!r} then, {made_from.get(key)!r} now"
            for key in sorted({*before, *made_from})
            if before.get(key) != made_from.get(key)
        ]
        raise ValueError(
            f"{path.parent} holds results of other inputs (fingerprint {found['fingerprint']} there, "
            f"{expected['fingerprint']} now). Changed: {'; '.join(changed)}. Choose another `output_dir`, or delete that one."
        )


def run_shards(
    folder: str | Path,
    num_shards: int,
    made_from: dict[str, Any],
    compute: Callable[[int], pa.Table],
    description: str,
) -> pa.Table:
    """Computes the missing shards of a folder, spread over the ranks, and reads them all.

    Args:
        folder: Where the shards are; with more than one node, on a disk that all of them see.
        num_shards: How many there are.
        made_from: Everything the result depends on (JSON-able): data, model, parameters.
        compute: Makes the table of one shard; must depend on nothing else.
        description: For the progress bar of rank 0.

    Returns:
        The shards' tables, one after the other, on every rank.
    """
    folder = Path(folder)
    state = process_state()
    made_from = made_from | {"num_shards": num_shards}

    def prepare() -> list[int]:
        check_manifest(manifest_path(folder), made_from)
        for abandoned in folder.glob(".*.tmp"):  # of processes that were killed while they wrote
            abandoned.unlink(missing_ok=True)
        return [shard for shard in range(num_shards) if not shard_path(folder, shard).exists()]

    # One list for all: what a killed run left is spread over the ranks of this one, however many there were before.
    todo = on_main_rank(prepare)

    def work() -> None:
        mine = todo[state.process_index :: state.num_processes]
        for shard in tqdm(mine, desc=description, unit="shard", disable=not state.is_main_process or not mine):
            write_table(shard_path(folder, shard), compute(shard))

    with reuse_freed_memory():
        on_all_ranks(work)
    wait_for([shard_path(folder, shard) for shard in range(num_shards)])
    return read_table(folder)


def manifest_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".manifest.json")


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"part-{shard:05d}.parquet"


def wait_for(paths: list[Path], seconds: float = 60.0) -> None:
    """Waits until files of other ranks are to be seen; network disks show them late."""
    deadline = time.monotonic() + seconds
    while missing := [path for path in paths if not path.exists()]:
        if time.monotonic() > deadline:
            raise FileNotFoundError(
                f"{len(missing)} shards are missing, for instance {missing[0]}. All nodes must see the same `output_dir`."
            )
        time.sleep(0.2)
