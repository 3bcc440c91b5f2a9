"""Run under `accelerate launch`: the shard of rank 1 fails. Every rank must end, with the reason."""

import sys

import pyarrow as pa

from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.distributed.shards import run_shards


def compute(shard: int) -> pa.Table:
    if process_state().process_index == 1:
        raise RuntimeError("rank 1 lost its disk")
    return pa.table({"value": [shard]})


if __name__ == "__main__":
    run_shards(sys.argv[1], 4, {}, compute, "Test")
