"""`python -m eval.grade` grades a JSONL file of responses: the same as `circuitseer grade`."""

import sys

from circuitseer_trl.command_line import run_command
from circuitseer_trl.scripts.grade import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run_command(main))
