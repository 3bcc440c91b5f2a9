"""Cases of the types that were weakest (`cases_of_types.txt`), written before the rules that meet them."""

from collections import Counter
from pathlib import Path

import pytest

from circuitseer_trl.grading.equivalence import compare
from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.grader import Question, boxes_of

Case = tuple[str, str, str | None, str, bool]  # type, reference, question, answer or response, whether it is accepted


def cases() -> list[Case]:
    kind, gold, question, found = "", "", None, list[Case]()
    for line in Path(__file__).with_name("cases_of_types.txt").read_text(encoding="utf-8").splitlines():
        mark, _, text = line.partition(" ")
        if mark == "#":
            continue
        if mark == "@":
            kind = text
        elif mark == "=":
            gold, question = text, None
        elif mark == "?":
            question = text
        else:
            found.append((kind, gold, question, text, mark in "+!"))  # what is misjudged as yet is expected to be
    return found


CASES = cases()


def verdict(kind: str, gold: str, question: str | None, text: str) -> bool:
    if kind != "box":
        return compare(gold, text, question=question).correct
    answer = extract_answer(text, boxes_of(Question(gold, None, question)))
    return answer is not None and compare(gold, answer, question=question).correct


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, *_ in CASES))
def test_cases_of_a_type(kind: str):
    wrong = [case for case in CASES if case[0] == kind and verdict(*case[:4]) != case[4]]
    assert wrong == []


def test_each_type_has_twenty_cases():
    assert min(Counter(kind for kind, *_ in CASES).values()) >= 20
