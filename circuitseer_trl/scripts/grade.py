"""Grades a JSONL file of responses."""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import run_command
from circuitseer_trl.evaluation.grade_file import GradeConfig, grade_file
from circuitseer_trl.extras import require_extra
from circuitseer_trl.locks import writing_to
from circuitseer_trl.recipe import parse_recipe


def main(args: Sequence[str] | None = None) -> None:
    config = parse_recipe(GradeConfig, args=args, prog="circuitseer grade", description=__doc__)
    require_extra("eval", "Grading", "math_verify")
    output = Path(config.output)
    with writing_to(output.parent, output.name):
        graded = grade_file(config)
    undecided = f", {graded.num_undecided} undecided" if graded.num_undecided else ""
    if graded.num_disagreements is not None:
        print(f"{config.second_grader} disagrees on {graded.num_disagreements}: {config.disagreements_file}")
    print(f"{graded.num_right} of {graded.num_lines} right{undecided}; verdicts in {config.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
