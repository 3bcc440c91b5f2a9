"""Runs select_data with shards of a few rows, so that a small pool makes many of them.

With SHARD_SECONDS in the environment every shard takes so much longer, so that a test can end a run between two of them.
"""

import os
import sys
import time

from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed import executors, shards
from circuitseer_trl.modeling import stored_losses
from circuitseer_trl.pool import row_shards
from circuitseer_trl.scripts import select_data

SECONDS = float(os.environ.get("SHARD_SECONDS", "0"))


class SlowWork(executors.ShardWork):
    def make(self, shard: int) -> None:
        time.sleep(SECONDS)
        super().make(shard)


if __name__ == "__main__":
    stored_losses.ROWS_PER_SHARD = row_shards.ROWS_PER_SHARD = 8
    shards.ShardWork = SlowWork  # type: ignore[misc]
    sys.exit(run_command(select_data.main))
