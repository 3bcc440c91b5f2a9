"""Work over all rows of a pool, some rows a shard."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.distributed.shard_folders import ShardFolder
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.pool.rows import Example, Pool

ROWS_PER_SHARD = 1024


@dataclass(frozen=True)
class RowShards:
    """Work over the rows of a pool, in shards of `size` rows."""

    pool: Pool
    size: int
    compute: Callable[[list[Example]], pa.Table]

    @property
    def num_shards(self) -> int:
        return -(-len(self.pool) // self.size)

    def __call__(self, shard: int) -> pa.Table:
        """The table of one shard."""
        return self.compute(self.pool.take(range(shard * self.size, min((shard + 1) * self.size, len(self.pool)))))

    def uids(self, shard: int) -> list[str]:
        return self.pool.uids_of(shard * self.size, (shard + 1) * self.size)


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
        compute: Makes the table of some rows; must depend on nothing else. It can be pickled.
        rows_per_shard: By default `ROWS_PER_SHARD`.
        columns: The columns of the table; None if they are not known.
    """
    work = RowShards(pool, rows_per_shard or ROWS_PER_SHARD, compute)
    return run_shards(folder, work.num_shards, made_from, work, description, work.uids, columns)
