"""`python -m eval.run` measures a model on benchmarks: the same as `circuitseer evaluate`."""

import sys

from circuitseer_trl.command_line import run_command
from circuitseer_trl.scripts.evaluate import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_command(main))
