"""Answers to the nine benchmarks' problems that are right or wrong by construction."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.benchmark_files import paper_benchmarks
from circuitseer_trl.evaluation.benchmarks import Problem, load_benchmark
from circuitseer_trl.grading.equivalence import compare

Answers = Iterator[tuple[str, str]]  # kind, answer


def bare(problem: Problem) -> str:
    return problem.gold.strip().strip("$").strip()


def right_letters(problem: Problem) -> Answers:
    gold = bare(problem)
    for spelling in (r"\text{%s}", "(%s)", r"\textbf{(%s)}", "%s.", r"\mathrm{%s}", r"\text{Option }%s", "选%s"):
        yield "letter", spelling % gold
    if text := (problem.choices or {}).get(gold):
        yield from (("option", text), ("letter and option", f"{gold}. {text}"), ("label", rf"\text{{({gold}) }}{text}"))


def wrong_letters(problem: Problem) -> Answers:
    gold = bare(problem)
    for letter in set("ABCDE") - {gold}:
        yield from (("letter", letter), ("letter", rf"\text{{({letter})}}"), ("two", f"{letter}, {gold}"))
    for letter, text in (problem.choices or {}).items():
        if letter != gold and text.strip() != (problem.choices or {})[gold].strip():
            yield from (("option", text), ("letter and option", f"{letter}. {text}"))


def right_several(problem: Problem) -> Answers:
    letters = re.findall("[A-D]", bare(problem))
    for joint in (", ", r" \text{ and } ", "、", ")("):
        yield "several", f"({joint.join(letters)})" if joint == ")(" else joint.join(letters)
    yield from (("several", "".join(reversed(letters))), ("several", rf"\text{{{''.join(letters)}}}"))


def wrong_several(problem: Problem) -> Answers:
    letters = re.findall("[A-D]", bare(problem))
    for letter in "ABCD":
        yield "subset or superset", "".join(sorted(set(letters) ^ {letter}))


def right_numbers(number: str) -> Answers:
    value = Fraction(number)
    for form in (
        r"\text{%s}",
        "x = %s",
        "(%s)",
        r"%s\text{ units}",
        r"\mathbf{%s}",
        r"\text{The answer is }%s",
        r"\approx %s",
    ):
        yield form, form % number
    yield from (("zero", number + ("0" if "." in number else ".0")), ("sum", f"{value - 1} + 1"))
    yield "fraction", rf"\frac{{{2 * value.numerator}}}{{{2 * value.denominator}}}"
    if value.denominator == 1 and abs(value) >= 1000:
        for comma in (",", "{,}", r",\!", r"\,"):
            yield "thousands", f"{int(value):,}".replace(",", comma)


def wrong_numbers(number: str) -> Answers:
    value = Fraction(number)
    near = [value * 100, value / 100, value + 1, -value, value * 10, value + Fraction(1, 20000), 2 * value]
    for other in near:
        if other != value:
            yield "near", rf"\frac{{{other.numerator}}}{{{other.denominator}}}"
    for form in ("%s, 1", r"%s \text{ or } 7919", "x > %s", r"x \ne %s", "%s_7", "%s, %s", r"[%s, \infty)"):
        yield form, form.replace("%s", number)
    if value:
        for form in (r"%s\pi", "%si", "%sx", r"\text{not }%s"):
            yield form, form % number
    if value not in (0, 1):
        yield "root", rf"\sqrt{{{number}}}"


# Their questions name what is asked for one after the other: another order is another answer.
IN_ORDER = {"olympiadbench-210", "olympiadbench-225", "olympiadbench-253", "olympiadbench-287"}


def right_texts(gold: str, *, in_order: bool = False) -> Answers:
    yield from (("dot", gold + "."), ("style", r"\displaystyle " + gold), ("dfrac", gold.replace(r"\frac", r"\dfrac")))
    yield "minus", gold.replace("-", "−")
    if re.fullmatch(r"\s*-?[\d.]+(\s*,\s*-?[\d.]+)+\s*", gold) and not re.fullmatch(r"\d{1,3}(,\d{3})+", gold):
        items = [item.strip() for item in gold.split(",")]
        for joint in (r" \text{ and } ", r" \text{ or } ", "; ", ", "):
            yield "list", joint.join(items if in_order else reversed(items))
        if len(set(items)) == len(items):
            yield "set", rf"\{{{', '.join(items)}\}}"


def wrong_texts(gold: str) -> Answers:
    """One digit or sign changed, an end of an interval opened, an item dropped or doubled."""
    for match in list(re.finditer(r"\d", gold))[:12]:
        if not re.search(r"_\{?[^{}]*$", gold[: match.start()]):
            yield "digit", gold[: match.start()] + str((int(match[0]) + 1) % 10) + gold[match.end() :]
    for match in list(re.finditer(r"(?<=[\w})])\s*([+-])(?!\s*\\(?:pi k|infty))", gold))[:6]:
        yield "sign", gold[: match.start(1)] + ("-" if match[1] == "+" else "+") + gold[match.end(1) :]
    if r"\cup" in gold or re.search(r"[\[(][^()\[\]]*(?:\]|,\s*[+]?(?:\\infty|∞)\))", gold):
        for match in re.finditer(r"[(\[](?!\s*-\s*(?:\\infty|∞))|(?<!infty)(?<!∞)[)\]]", gold):
            if r"\left" not in gold and r"\sqrt[" not in gold and gold[: match.start()].count("frac") == 0:
                flipped = {"(": "[", "[": "(", ")": "]", "]": ")"}[match[0]]
                yield "end", gold[: match.start()] + flipped + gold[match.end() :]
    if re.fullmatch(r"\s*-?[\d.]+(\s*,\s*-?[\d.]+)+\s*", gold) and not re.fullmatch(r"\d{1,3}(,\d{3})+", gold):
        items = [item.strip() for item in gold.split(",")]
        for number in range(len(items)):
            yield "dropped", ", ".join(items[:number] + items[number + 1 :])
        yield from (("doubled", ", ".join([*items, items[0]])), ("added", ", ".join([*items, "7919"])))


def answers(problem: Problem, right: bool) -> Answers:
    gold = bare(problem)
    if re.fullmatch("[A-K]", gold):
        yield from (right_letters if right else wrong_letters)(problem)
    elif re.fullmatch(r"[A-D](?:\s*[A-D])+", gold):
        yield from (right_several if right else wrong_several)(problem)
    elif re.fullmatch(r"-?\d*\.?\d+", gold):
        yield from (right_numbers if right else wrong_numbers)(gold)
    elif right:
        yield from right_texts(gold, in_order=problem.id in IN_ORDER)
    else:
        yield from wrong_texts(gold)


# What the constructions above get wrong: labels and remarks that say nothing, a tuple of one value twice, and the sign of
# an arbitrary constant.
IGNORED = {
    "kaoyan-133",
    "kaoyan-163",
    "olympiadbench-73",
    "olympiadbench-269",
    "kaoyan-99",
    "gaokao2024_mix-11",
    "gaokao2024_mix-13",
}


@pytest.mark.thorough
@pytest.mark.parametrize("right", [True, False])
def test_answers_of_known_verdict(shared: Path, right: bool):
    problems = [p for name in paper_benchmarks() for p in load_benchmark(name, shared / "benchmarks") if p.gold]
    wrong, count = [], 0
    for problem in problems:
        for kind, answer in answers(problem, right):
            if not answer or (not right and problem.id in IGNORED):
                continue
            count += 1
            verdict = compare(problem.gold, answer, problem.choices, problem.question)
            if verdict.correct is not right:
                wrong.append((kind, problem.id, problem.gold, answer, verdict.reason))
    assert count > 10_000
    assert wrong == []
