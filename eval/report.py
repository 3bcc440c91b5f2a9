"""`python -m eval.report` compares evaluations, as tables and as a page: the same as `circuitseer report`."""

import sys

from circuitseer_trl.command_line import run_command
from circuitseer_trl.scripts.report import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_command(main))
