"""Long work in fixed shards: the bytes are the same for any number of processes, and after a kill and a restart.

Data and parameters alone decide which rows make a shard. A shard is one Parquet file, written whole. The manifest beside
the folder records the inputs of the shards, so that changed inputs are refused and never mixed.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from circuitseer_trl.artifacts import fingerprint, read_json, read_table, write_json, write_table
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.distributed.processes import on_all_ranks, on_main_rank, process_state

# Share of the rows that may end in an error; more of them stop the run.
MAX_ERROR_SHARE = 0.01


def check_manifest(path: Path, made_from: dict[str, Any]) -> None:
    """Writes the inputs of a folder of shards, or compares them with the recorded ones.

    Raises:
        ValueError: The folder was made from other inputs; the message names each one.
    """
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
    """Computes the missing shards of a folder, divided among the ranks, and reads all shards.

    Args:
        folder: The folder of the shards. With more than one node it is on a disk that all nodes see.
        num_shards: The number of shards.
        made_from: Everything that the result depends on, as JSON values: data, model, parameters.
        compute: Makes the table of one shard, from nothing but these inputs.
        description: Text of the progress bar of rank 0.

    Returns:
        The tables of the shards in their order, on every rank.
    """
    folder = Path(folder)
    state = process_state()
    made_from = made_from | {"num_shards": num_shards}

    def prepare() -> list[int]:
        check_manifest(manifest_path(folder), made_from)
        for abandoned in folder.glob(".*.tmp"):  # left by processes that were killed while they wrote
            abandoned.unlink(missing_ok=True)
        return [shard for shard in range(num_shards) if not shard_path(folder, shard).exists()]

    # Shards that are missing are divided among the ranks. Their number may differ from the run that was killed.
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
    """Waits until this rank sees the files of other ranks; network disks show them late."""
    deadline = time.monotonic() + seconds
    while missing := [path for path in paths if not path.exists()]:
        if time.monotonic() > deadline:
            raise FileNotFoundError(
                f"{len(missing)} shards are missing, for instance {missing[0]}. All nodes must see the same `output_dir`."
            )
        time.sleep(0.2)
