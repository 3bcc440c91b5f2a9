"""The examples of docs/grading.md are verdicts of the grader, and each type has two right and two wrong ones."""

import re
from pathlib import Path

import pytest

from circuitseer_trl.grading.equivalence import compare

PAGE = Path(__file__).parents[2] / "docs" / "grading.md"
TYPE = re.compile(r"^\*\*([^*]+)\.\*\*", re.MULTILINE)
EXAMPLE = re.compile(r"(Right|Wrong): `([^`]+)` for `([^`]+)`(?: where the question is `([^`]+)`)?")
BY_TYPE = dict(zip(*[iter(TYPE.split(PAGE.read_text(encoding="utf-8"))[1:])] * 2, strict=True))


@pytest.mark.parametrize("name", BY_TYPE)
def test_a_type_has_two_examples_of_each_verdict(name: str):
    examples = EXAMPLE.findall(BY_TYPE[name].split("\n## ")[0])
    assert [verdict for verdict, *_ in examples] == ["Right", "Wrong"] * 2


def test_the_examples_are_verdicts():
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) == 4 * len(BY_TYPE) + 4
    wrong = [
        (verdict, answer, gold, found)
        for verdict, answer, gold, question in examples
        if (found := compare(gold, answer, question=question or None)).correct != (verdict == "Right")
    ]
    assert wrong == []


def test_all_types_are_there():
    assert len(BY_TYPE) == 14
