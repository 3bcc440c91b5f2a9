"""Work over all rows of a pool, some rows a shard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.distributed.shard_folders import ShardFolder
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.pool.rows import Example, Pool

ROWS_PER_SHARD = 1024


def run_row_shards(
    pool: Pool,
    folder: str | Path,
    made_from: dict[str, Any],
    compute: Callable[[list[Example]], pa.Table],
    description: str,
    rows_per_shard: int | None = None,
    columns: pa.Schema | None = None,
) -> ShardFolder:
    """Computes what `compute` makes of every row of the pool, in its order; see `run_shards`.

    Args:
        made_from: Everything the result depends on, the pool too.
        compute: Makes the table of some rows; must depend on nothing else.
        rows_per_shard: By default `ROWS_PER_SHARD`.
        columns: The columns of the table; None if they are not known.
    """
    size = rows_per_shard or ROWS_PER_SHARD

    def compute_shard(shard: int) -> pa.Table:
        return compute(pool.take(range(shard * size, min((shard + 1) * size, len(pool)))))

    def uids(shard: int) -> list[str]:
        return pool.uids_of(shard * size, (shard + 1) * size)

    return run_shards(folder, -(-len(pool) // size), made_from, compute_shard, description, uids, columns)
