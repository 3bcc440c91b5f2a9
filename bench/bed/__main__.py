"""Runs a plan of the bed: `python -m bench.bed run PLAN.yaml`; tells what the rows show: `python -m bench.bed ledger`."""

import argparse
import sys
from pathlib import Path

from bench.bed.plan import read_plan
from bench.bed.run import run_plan

ROWS = Path(__file__).parent / "rows"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Small trainings that show whether selection methods help.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run what is not done of a plan")
    run.add_argument("plan", type=Path)
    run.add_argument("--workers", type=int, default=2)
    run.add_argument(
        "--rows_dir", type=Path, default=ROWS, help="Folder of the rows; a plan has a folder of its name in it."
    )
    run.add_argument("--scratch_dir", type=Path, default=Path("runs/bed"), help="Folder for losses and heads.")
    commands.add_parser("ledger", help="write docs/evidence.md, its figures and its page from the rows")
    args = parser.parse_args()
    if args.command == "ledger":
        from bench.bed.ledger import write_ledger  # needs the extra `plots`

        print(write_ledger())
        return 0
    try:
        plan = read_plan(args.plan)
        return int(run_plan(plan, args.rows_dir / plan.name, args.scratch_dir / plan.name, args.workers) > 0)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
