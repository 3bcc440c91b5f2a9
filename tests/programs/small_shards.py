"""Runs select_data with shards of a few rows, so that a small pool makes many of them.

With SHARD_SECONDS in the environment every shard takes so much longer, so that a test can end a run between two of them.
"""

import os
import sys
import time
from pathlib import Path

import pyarrow as pa

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed import executors
from circuitseer_trl.modeling import stored_losses
from circuitseer_trl.pool import row_shards
from circuitseer_trl.scripts import select_data


def write_slowly(path: str | Path, table: pa.Table, of: str | None = None) -> None:
    time.sleep(float(os.environ.get("SHARD_SECONDS", "0")))
    write_table(path, table, of)


if __name__ == "__main__":
    stored_losses.ROWS_PER_SHARD = row_shards.ROWS_PER_SHARD = 8
    executors.write_table = write_slowly
    sys.exit(run_command(select_data.main))
