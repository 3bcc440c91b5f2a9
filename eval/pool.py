"""`python -m eval.pool` writes a pool as a benchmark: the same as `circuitseer pool-benchmark`."""

import sys

from circuitseer_trl.command_line import run_command
from circuitseer_trl.scripts.pool_benchmark import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_command(main))
