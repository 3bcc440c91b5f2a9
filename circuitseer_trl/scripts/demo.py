"""Runs a study on two CPU cores, without a network: does a selected tenth beat a random one?"""

import sys
from collections.abc import Sequence

from circuitseer_trl.command_line import CommandParser, run_command
from circuitseer_trl.extras import require_extra


def main(args: Sequence[str] | None = None) -> int:
    CommandParser(prog="circuitseer demo", description=f"{__doc__} Writes to runs/demo.").parse_args(args)
    require_extra("eval", "The demo", "math_verify")
    from circuitseer_trl.demo.run import run_demo

    return run_demo()


if __name__ == "__main__":
    sys.exit(run_command(main))
