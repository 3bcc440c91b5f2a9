"""Random expressions in two spellings, or with one part changed, against their values computed apart from the grader."""

import random
from dataclasses import dataclass

import mpmath
import pytest

from circuitseer_trl.grading.equivalence import compare

OPERATIONS = ("+", "-", "*", "/", "^", "sqrt", "sin", "ln")


@dataclass(frozen=True)
class Tree:
    """An expression; a leaf has no parts and its operation is a number or a letter."""

    operation: str
    parts: tuple["Tree", ...] = ()


def random_tree(rng: random.Random, depth: int) -> Tree:
    if depth == 0 or rng.random() < 0.2:
        return Tree(rng.choice([str(rng.randint(1, 12)), "x", "y", "n", r"\pi"]))
    operation = rng.choice(OPERATIONS)
    if operation == "^":
        return Tree("^", (random_tree(rng, depth - 1), Tree(str(rng.randint(2, 3)))))
    return Tree(operation, tuple(random_tree(rng, depth - 1) for _ in range(2 if operation in "+-*/" else 1)))


def value(tree: Tree, point: dict[str, mpmath.mpf]) -> mpmath.mpf:
    parts = [value(part, point) for part in tree.parts]
    match tree.operation, parts:
        case "+", [a, b]:
            return a + b
        case "-", [a, b]:
            return a - b
        case "*", [a, b]:
            return a * b
        case "/", [a, b]:
            return a / b
        case "^", [a, b]:
            return mpmath.power(a, b)
        case "sqrt", [a]:
            return mpmath.sqrt(a)
        case "sin", [a]:
            return mpmath.sin(a)
        case "ln", [a]:
            return mpmath.log(a)
    return (
        mpmath.pi
        if tree.operation == r"\pi"
        else point[tree.operation]
        if tree.operation in point
        else mpmath.mpf(tree.operation)
    )


def latex(tree: Tree, rng: random.Random) -> str:
    """One of many spellings of the same tree."""
    a, *rest = [latex(part, rng) for part in tree.parts] or [tree.operation]
    b = rest[0] if rest else ""
    forms = {
        "+": [f"({a}+{b})", rf"\left({b} + {a}\right)", f"{{({b}+({a}))}}"],
        "-": [f"({a}-({b}))", rf"\left(-({b})+{a}\right)"],
        "*": [rf"({a})({b})", rf"({b})\cdot ({a})", rf"({a})\times({b})"],
        "/": [rf"\frac{{{a}}}{{{b}}}", f"(({a})/({b}))", rf"({a})\cdot({b})^{{-1}}", rf"\dfrac{{2({a})}}{{2({b})}}"],
        "^": [f"({a})^{{{b}}}", rf"\left({a}\right)^{b}"],
        "sqrt": [rf"\sqrt{{{a}}}", rf"({a})^{{1/2}}", rf"({a})^{{\frac12}}"],
        "sin": [rf"\sin({a})", rf"\sin\left({a}\right)", rf"-\sin(-({a}))"],
        "ln": [rf"\ln({a})", rf"\ln\left({a}\right)", rf"\frac12\ln(({a})^2)"],
    }
    written = rng.choice(forms.get(tree.operation, [a]))
    return f"({written})" if written.startswith("-") else written


def other_part(tree: Tree, rng: random.Random) -> Tree:
    """The tree with one of its operations or leaves changed."""
    if tree.parts and rng.random() < 0.7:
        place = rng.randrange(len(tree.parts))
        parts = list(tree.parts)
        parts[place] = other_part(parts[place], rng)
        return Tree(tree.operation, tuple(parts))
    if tree.operation in ("+", "-", "*", "/"):
        return Tree(rng.choice([each for each in "+-*/" if each != tree.operation]), tree.parts)
    if not tree.parts:
        return Tree(rng.choice([each for each in ("1", "2", "7", "x", "y") if each != tree.operation]))
    return tree.parts[0]


def same_values(one: Tree, other: Tree, rng: random.Random) -> bool | None:
    """Whether two trees agree at random points; None where they have no real values there."""
    compared = 0
    with mpmath.workdps(60):
        for _ in range(40):
            point = {name: mpmath.mpf(rng.uniform(0.3, 6)) for name in ("x", "y", "n")}
            try:
                a, b = value(one, point), value(other, point)
            except ZeroDivisionError:
                continue
            if mpmath.im(a) != 0 or mpmath.im(b) != 0 or not (mpmath.isfinite(a) and mpmath.isfinite(b)):
                continue
            if 0 < abs(a) < 1e-15 or 0 < abs(b) < 1e-15:
                return None  # a root of what is 0 only up to rounding
            if max(abs(a), abs(b)) > 1e15:
                return None  # divided by what is 0 only up to rounding
            compared += 1
            if abs(a - b) > mpmath.mpf(10) ** -30 * max(abs(a), abs(b), 1):
                return False
    return True if compared > 5 else None


def disagreements(count: int, seed: int) -> list[tuple[str, str, bool, str]]:
    rng, wrong = random.Random(seed), []
    for _ in range(count):
        tree = random_tree(rng, rng.randint(1, 4))
        other = tree if rng.random() < 0.5 else other_part(tree, rng)
        expected = same_values(tree, other, rng)
        if expected is None:
            continue
        gold, answer = latex(tree, rng), latex(other, rng)
        judgement = compare(gold, answer)
        if judgement.correct != expected and judgement.reason != "too_costly":
            wrong.append((gold, answer, expected, judgement.reason))
    return wrong


def test_some_expressions_by_a_second_opinion():
    assert disagreements(150, seed=1) == []


@pytest.mark.slow
def test_many_expressions_by_a_second_opinion():
    assert disagreements(10_000, seed=2) == []
