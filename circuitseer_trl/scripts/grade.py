"""Grades a JSONL file of responses."""

from circuitseer_trl.evaluation.grade_file import GradeConfig, grade_file
from circuitseer_trl.recipe import parse_recipe


def main() -> None:
    config = parse_recipe(GradeConfig, prog="python -m eval.grade", description="Grades a JSONL file of responses.")
    num_lines, num_right = grade_file(config)
    print(f"{num_right} of {num_lines} right; verdicts in {config.output}")


if __name__ == "__main__":
    main()
