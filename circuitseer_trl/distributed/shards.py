"""Long work in fixed shards: the bytes are the same for any number of processes, and after a kill and a restart.

Data and parameters alone decide which rows make a shard.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.distributed.executors import ShardWork, chosen_executor
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shard_folders import ShardFolder, check_manifest, manifest_path

# Share of the rows that may end in an error; more of them stop the run.
MAX_ERROR_SHARE = 0.01


def run_shards(
    folder: str | Path,
    num_shards: int,
    made_from: dict[str, Any],
    compute: Callable[[int], pa.Table],
    description: str,
    uids: Callable[[int], Sequence[str]] | None = None,
    columns: pa.Schema | None = None,
) -> ShardFolder:
    """Computes the shards of a folder that are missing or broken, by the executor that the command has chosen.

    Args:
        folder: The folder of the shards. With more than one node it is on a disk that all nodes see.
        num_shards: The number of shards.
        made_from: Everything that the result depends on, as JSON values: data, model, parameters.
        compute: Makes the table of one shard, from nothing but these inputs. It can be pickled, for other processes.
        description: Text of the progress bar of rank 0.
        uids: Gives the column `uid` that a shard must have; None accepts any.
        columns: The columns that a shard must have; None accepts any.

    Returns:
        The whole folder, which every rank sees.
    """
    folder = Path(folder)
    made_from = made_from | {"num_shards": num_shards}
    executor = chosen_executor()
    shards = ShardFolder(folder, num_shards, fingerprint(made_from), uids, columns)

    def prepare() -> list[int]:
        check_manifest(manifest_path(folder), made_from)
        if not executor.shares_folder:
            for abandoned in folder.glob(".*.tmp"):  # left by processes that were killed while they wrote
                abandoned.unlink(missing_ok=True)
        return shards.to_compute()

    todo = on_main_rank(prepare)
    executor.run(ShardWork.of(shards, todo, compute, description))
    wait_for([shards.path(shard) for shard in range(num_shards)])
    return shards


def wait_for(paths: list[Path], seconds: float = 60.0) -> None:
    """Waits until this rank sees the files of other ranks; network disks show them late."""
    deadline = time.monotonic() + seconds
    while missing := [path for path in paths if not path.exists()]:
        if time.monotonic() > deadline:
            raise FileNotFoundError(
                f"{len(missing)} shards are missing, for instance {missing[0]}. All nodes must see the same `output_dir`."
            )
        time.sleep(0.2)
