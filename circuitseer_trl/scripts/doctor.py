"""Does this machine compute right and fast? Checks it in about three minutes, and prints a table.

    circuitseer doctor                                # with a small model that comes with the package, without a network
    circuitseer doctor --model M --output doctor.json # with a model of your own, and a file for a bug report

It compares what the package computes with slow and obvious ways: losses, scores, heads, padding, masks, generation, two steps of
ZeRO-3. Each row has the error and its bound. The exit status is 1 if a number differs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> int:
    parser = CommandParser(prog="circuitseer doctor", description=__doc__)
    parser.add_argument("--model", metavar="M", help="Hub id or folder of a causal language model (the demo's).")
    parser.add_argument("--quick", action="store_true", help="Leave out what starts engines: ZeRO-3 and vLLM.")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file to write.")
    options = parser.parse_args(args)
    if options.output is not None and options.output.is_dir():
        raise ValueError(f"`--output` is the folder {options.output}. Give a file, such as doctor.json.")
    from circuitseer_trl.doctor.run import diagnose

    return diagnose(options.model, quick=options.quick, output=options.output)


if __name__ == "__main__":
    sys.exit(run_command(main))
