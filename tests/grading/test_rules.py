"""Every rule decides the examples of its docstring, and is the one that decides them."""

import re
from collections.abc import Callable

import pytest

from circuitseer_trl.grading import equivalence, lists, single
from circuitseer_trl.grading.equivalence import compare

RULES: list[Callable[..., bool | None]] = [*equivalence.RULES, *single.RULES, *single.RULES_OF_BARE]
RULES += [lists.numbered, lists.named]
EXAMPLE = re.compile(r"(Right|Wrong): `([^`]+)` for\s+`([^`]+)`")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_decides_its_examples(rule: Callable[..., bool | None]):
    examples = EXAMPLE.findall(rule.__doc__ or "")
    assert len(examples) >= 2
    wrong = []
    for verdict, answer, gold in examples:
        judgement = compare(gold, answer)
        if judgement.correct != (verdict == "Right") or judgement.reason != rule.__name__.strip("_"):
            wrong.append((verdict, gold, answer, judgement))
    assert wrong == []


QUESTIONS = [
    ("5, 3", "3, 5", "The mean is ____ and the median is ____.", False),
    ("5, 3", "5, 3", "The mean is ____ and the median is ____.", True),
    ("5, 3", "3, 5", "(1) Find $a$. (2) Find $b$.", False),
    ("5, 3", "3, 5", "甲的概率为 \\qquad ; 乙的概率为 \\qquad .", False),
    ("5, 3", "3, 5", "Determine the values of $a$ and $b$, respectively.", False),
    ("5, 3", "3, 5", "Determine $T(10)$ and $T(11)$.", False),
    ("5, 3", "b=3, a=5", "Determine $a$ and $b$.", True),
    ("5, 3", "3, 5", "Find all values of $x$.", True),
    ("5, 3", "3, 5", "What are the minimum and maximum values of $f$?", True),
    ("5, 3", "3, 5", "Find the roots of $x^2-8x+15$.", True),
    ("5, 3", "3, 5", "Is it $f(1)$ or $f(2)$?", True),
    (r"A=\frac{\pi}{6}, 2", r"2, \frac{\pi}{6}", "(1) 求 A. (2) 求周长.", False),
    ("e=2, t=3", "t=2, e=3", None, False),
    ("x^2=1, e=2, t=3", "x^2=1, t=2, e=3", None, False),
    ("5", r"5\text{ m}", "How many metres is it?", True),
    ("5", r"500\text{ cm}", "How many metres is it?", True),
    ("5", r"5\text{ cm}", "How many metres is it?", False),
    ("5", r"5\text{ s}", "What is its length, in metres?", False),
    ("5", r"5\text{ km/h}", "Find the speed in kilometers per hour.", True),
    ("5", r"5\text{ km}", "How many metres is it in kilometres?", True),
    ("5", r"5\text{ apples}", "How many apples are in the box?", True),
    (r"\frac{x^2}{2}+C", r"\frac{x^2}{2}+1+K", r"Find $\int x\,dx$.", True),
    (r"\frac{x^2}{2}+C", r"\frac{x^2}{2}+1+C", "A box costs $C$. What is the price of $x$ of them?", False),
]


@pytest.mark.parametrize(("gold", "answer", "question", "expected"), QUESTIONS)
def test_the_question_says_what_counts(gold: str, answer: str, question: str | None, expected: bool):
    assert compare(gold, answer, question=question).correct is expected


TABLE = {
    "braces": [
        ("3^{n+1}", "3^n+1", False),
        ("x^{2}+1", "x^{2+1}", False),
        ("a_{12}", "a_{1}2", False),
        ("x^{10}", "x^10", True),
        ("a_{n+1}", "a_n+1", False),
        ("e^{2x}", "e^2x", False),
        (r"2^{n}-1", r"2^{n-1}", False),
    ],
    "infinity": [
        ("0", r"\infty-\infty", False),
        ("1", r"\frac{\infty}{\infty}", False),
        (r"\infty", r"+\infty", True),
        (r"\infty", r"-\infty", False),
        (r"(-\infty,0]", r"(\infty,0]", False),
    ],
    "large and small": [
        ("10^{1000000}+1", "10^{1000000}", False),
        ("10^{1000000}+1", "1+100^{500000}", True),
        ("e^{100}+1", "e^{100}", False),
        (r"\sqrt{10^{60}+1}", "10^{30}", False),
        (r"\frac{\pi}{10^{30}}", r"\frac{\pi}{10^{31}}", False),
        (r"\frac{\pi}{10^{30}}", r"\pi\cdot 10^{-30}", True),
        ("|x-5|", "5-x", False),
    ],
    "commas": [
        ("2,900", "(2, 900)", False),
        ("(2,900)", "2,900", True),
        ("2,900", "2900", True),
        ("a=1, b=2", r"a=1\text{ or }b=2", False),
        ("a=1, b=2", r"a=1\text{ 且 }b=2", True),
        ("x>0, y>0", r"x>0\text{ or }y>0", False),
        ("x>0, y>0", r"x>0\text{ and }y>0", True),
    ],
    "units": [
        (r"15\text{ cm}^2", r"15\ \mathrm{cm^2}", True),
        (r"15\text{ cm}^2", r"15\ \mathrm{cm^{3}}", False),
        (r"10\ \mathrm{m/s^2}", r"10\ \mathrm{m/s}", False),
        (r"3\text{ million}", "3", False),
        (r"3\text{ million}", "3000000", True),
    ],
    "families": [
        (r"k\pi\ (k\in\mathbb{Z})", r"n\pi\ (n\in\mathbb Z)", True),
        (r"6k\pm1\ (k\in\mathbb{Z})", "6n+1, 6n-1", True),
        (r"\frac{k\pi}{2}, k\in\mathbb{Z}", r"k\pi, k\pi+\frac{\pi}{2}, k\in\mathbb{Z}", True),
        (r"\frac{k\pi}{2}, k\in\mathbb{Z}", r"k\pi, k\in\mathbb{Z}", False),
        (r"2k+1, k\in\mathbb{N}", r"2k-1, k\in\mathbb{N}^*", True),
        (r"2k+1, k\in\mathbb{N}", r"2k-1, k\in\mathbb{N}", False),
        (r"\{x \mid x\ne k\pi, k\in\mathbb{Z}\}", r"x\neq n\pi, n\in\mathbb{Z}", True),
        (r"(k\pi, k\pi+1), k\in\mathbb{Z}", r"k\pi<x<k\pi+1, k\in\mathbb{Z}", True),
        (r"(k\pi, k\pi+1), k\in\mathbb{Z}", r"[k\pi, k\pi+1], k\in\mathbb{Z}", False),
        (r"(k\pi, k\pi+1), k\in\mathbb{Z}", r"(2k\pi, 2k\pi+1), k\in\mathbb{Z}", False),
    ],
    "what stands before": [
        ("5", r"\text{答案：}5", True),
        ("5", r"\text{不是 }5", False),
        ("x>3", r"\text{不等式的解集为 }(3,+\infty)", True),
        ("9", r"\mathbf{\boxed{9}}", True),
        ("a=1, b=2", r"\begin{cases} a=1 \\ b=2 \end{cases}", True),
        ("a=1, b=2", r"\begin{cases} a=2 \\ b=1 \end{cases}", False),
    ],
}


@pytest.mark.parametrize(("gold", "answer", "expected"), [row for rows in TABLE.values() for row in rows])
def test_a_rule_by_its_cases(gold: str, answer: str, expected: bool):
    assert compare(gold, answer).correct is expected
