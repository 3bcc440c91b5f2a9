"""What must hold for any text: reading and comparing never raise, never hang, and are fair to both sides."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitseer_trl.grading.equivalence import compare
from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.normalization import normalize

QUICK = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
LONG = settings(QUICK, max_examples=5000)

numbers = st.one_of(
    st.integers(-9999, 9999).map(str),
    st.decimals(-99, 99, places=3, allow_nan=False).map(str),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda pair: rf"\frac{{{pair[0]}}}{{{pair[1]}}}"),
)
atoms = st.one_of(numbers, st.sampled_from(["x", "y", "n", r"\pi", "e", r"\alpha", r"\sqrt{2}", "x_1"]))
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", r"\cdot "]), inner).map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        st.tuples(inner, inner).map(lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"),
        inner.map(lambda t: rf"\sqrt{{{t}}}"),
        inner.map(lambda t: rf"\left({t}\right)^{{2}}"),
        inner.map(lambda t: rf"\sin({t})"),
    ),
    max_leaves=6,
)
lists = st.lists(expressions, min_size=2, max_size=4).map(", ".join)
intervals = st.tuples(st.sampled_from("(["), numbers, numbers, st.sampled_from(")]")).map(
    lambda t: f"{t[0]}{t[1]}, {t[2]}{t[3]}"
)
answers = st.one_of(expressions, lists, intervals, lists.map(lambda t: rf"\{{{t}\}}"), lists.map(lambda t: f"({t})"))
COMMANDS = [
    r"\frac",
    r"\boxed{",
    r"\text{",
    r"\pm",
    r"\cup",
    r"\infty",
    r"\le",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\sqrt",
]
COMMANDS += [
    r"\\",
    r"\left",
    r"\or",
    r"\in",
    "{",
    "}",
    "\x00",
    "\ud800",
    "\u202e",
    "½",
    "√",
    "²",
    "①",
    "和",
    "或",
    "，",
    "（",
]
pieces = st.sampled_from([*string.printable, *COMMANDS])
broken = st.one_of(st.lists(pieces, max_size=30).map("".join), st.text(max_size=60))


def check_reflexive(answer: str) -> None:
    assert compare(answer, answer).correct
    assert compare(answer, rf"\displaystyle {answer}.").correct


def check_symmetric(one: str, other: str) -> None:
    assert compare(one, other).correct == compare(other, one).correct


def check_shifted(answer: str) -> None:
    """A number more is another number; the same number more and less is none."""
    assert compare(answer, f"({answer}) + 3 - 3").correct
    assert not compare(answer, f"({answer}) + 1").correct


def check_survives(one: str, other: str) -> None:
    assert isinstance(normalize(one), str)
    assert compare(one, other).correct in (True, False)
    assert compare(one, "5").reason
    extracted = extract_answer(rf"So \boxed{{{one}}} and {other}")
    assert extracted is None or isinstance(extracted, str)


def check_truncated(answer: str, length: int) -> None:
    """A response cut anywhere before its box closes has no answer."""
    response = rf"First \boxed{{0}}, then \boxed{{{answer}}}"
    start = response.rindex(r"\boxed") + len(r"\boxed{")
    assert extract_answer(response[: start + length % (len(answer) + 1)]) is None
    assert extract_answer(response) == answer


@QUICK
@given(answers)
def test_an_answer_equals_itself(answer: str):
    check_reflexive(answer)


@QUICK
@given(expressions, expressions)
def test_equality_has_no_direction(one: str, other: str):
    check_symmetric(one, other)


@QUICK
@given(numbers)
def test_another_number_is_wrong(number: str):
    check_shifted(number)


@pytest.mark.thorough
@QUICK
@given(broken, broken)
def test_nothing_is_raised(one: str, other: str):
    check_survives(one, other)


@QUICK
@given(expressions, st.integers(0, 1000))
def test_a_box_that_was_cut_off_is_no_answer(answer: str, length: int):
    check_truncated(answer, length)


@pytest.mark.slow
@LONG
@given(answers, expressions, expressions, broken, broken, st.integers(0, 1000))
def test_all_of_it_for_long(answer: str, one: str, other: str, ruin: str, rest: str, length: int):
    check_reflexive(answer)
    check_symmetric(one, other)
    check_survives(ruin, rest)
    check_truncated(one, length)
