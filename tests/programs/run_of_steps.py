"""A run with one step: the words of the command line are the step's process."""

import sys

from circuitseer_trl.children import run_child
from circuitseer_trl.command_line import run_command

if __name__ == "__main__":
    sys.exit(run_command(run_child))
