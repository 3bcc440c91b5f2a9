"""Runs select_data with shards of a few rows, so that a small pool makes many of them."""

from circuitseer_trl.circuits import probe
from circuitseer_trl.scoring import base
from circuitseer_trl.scripts import select_data

if __name__ == "__main__":
    probe.ROWS_PER_SHARD = base.ROWS_PER_SHARD = 8
    select_data.main()
