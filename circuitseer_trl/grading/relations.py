"""Do two equations or inequalities mean the same? And which value does an equation give to a name?"""

import re
from dataclasses import dataclass

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, number, rename, symbols
from circuitseer_trl.grading.structure import relation_parts
from circuitseer_trl.grading.units import split_unit
from circuitseer_trl.grading.values import equal_expressions, proportional, same_zeros

_MAX_CHAIN = 50
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne", r"\in": r"\in"}
_SCRIPT = r"(?:\s*_\s*(?:\{[^{}]*\}|\S)|\s*\^\s*\{?\s*[*']+\s*\}?|')*"
_LETTER = r"(?:\\[A-Za-z]+(?![A-Za-z])|[A-Za-z]|\"[^\"]*\"|\\(?:angle|triangle)\s*[A-Z ]+|\\hat\s*\w)"
_SINGLE = rf"{_LETTER}{_SCRIPT}(?:\s*\([^()=\d]*\))?"
_NAMES = rf"(?:{_SINGLE}\s*)+"
_CAPITALS = r"(?:\([^()]*[A-Z\\][^()]*\)|(?:\\[a-z]+|[A-Z])(?:_\w+)?|\{[^{}]*[A-Z\\][^{}]*\})"
_FUNCTION_OF_NAMES = rf"\\(?:sin|cos|tan|cot)\s*{_CAPITALS}"
_NAME = re.compile(
    rf"{_NAMES}(?::\s*{_NAMES})?|\(\s*{_NAMES}(?:,\s*{_NAMES})*\)|\|\s*{_NAMES}\||{_FUNCTION_OF_NAMES}"
    rf"|\\frac\s*\{{\s*{_NAMES}\}}\s*\{{\s*{_NAMES}\}}|{_NAMES}(?:\\cap|\\cup)\s*{_NAMES}|(?:\"[^\"]*\"\s*)?[A-Za-z]\s*\([^()=]*\)"
    rf"|{_NAMES}/\s*{_NAMES}"
)
_SUM_OF_NAMES = re.compile(rf"{_NAMES}(?:[+-]\s*{_NAMES})+")


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the name of the rule that gave it."""

    correct: bool
    reason: str


def is_name(text: str) -> bool:
    """Whether a text only names something: a symbol, `f(x)`, `\\angle A`, `S : T`, `\\sin A`."""
    return len(text) < 200 and bool(_NAME.fullmatch(text.strip()))


def assigned(text: str, *, sums: bool = False) -> str | None:
    """The value in `x = 5`, `f(x) = 5`, `S : T = 5` or `x \\in A`: what is left of it is only a name.

    Args:
        sums: Whether `a + b = 5` also counts as an assignment, which is right if the question asks for no equation.
    """
    parts = relation_parts(text)
    if len(parts) < 3 or any(part not in ("=", r"\in", r"\approx") for part in parts[1::2]):
        return None
    if parts[-2] == r"\approx":
        if not parts[0]:
            return parts[-1]
        if not (len(parts) == 3 and is_name(parts[0])):
            return parts[-3]  # what follows is only near
    if is_name(parts[0]) or (sums and len(parts[0]) < 100 and _SUM_OF_NAMES.fullmatch(parts[0].strip())):
        return parts[-1]
    if len(parts) == 3 and is_name(parts[2]) and re.fullmatch(r"[-\d.,\s]+", parts[0]):
        return parts[0]  # 5 = x
    if len(parts) == 3 and re.fullmatch(r"[A-Za-z]\s*\(\s*[A-Za-z]\s*\)", parts[2]):
        return parts[0]  # z = f(z)
    if set(parts[1::2]) == {"="} and all(_same_value(parts[0], part) for part in parts[2::2]):
        return parts[-1]  # 2 + 3 = 5
    return None


def _same_value(one: str, other: str) -> bool:
    return equal_expressions(*(parse_expression(split_unit(text)[0]) for text in (one, other)))


def name_of(text: str) -> str | None:
    """What stands left of an assignment, without spaces; `None` where there is no assignment."""
    return re.sub(r"\s|[{}]", "", relation_parts(text)[0]) if assigned(text) is not None else None


def is_curve(parts: list[str]) -> bool:
    """Whether an equation is one of coordinates: `y = 2x`, but not `a = 5` or `f(x) = 2x`."""
    return (
        len(parts) == 3
        and parts[1] == "="
        and parts[0].strip() in ("x", "y", "z")
        and bool(re.search(r"(?<![\\A-Za-z])[xyz](?![A-Za-z])", parts[2]))
    )


def same_functions(gold: list[str], answer: list[str]) -> bool:
    """Whether `f(x) = ...` and `f(t) = ...` are one function, which the name of its argument does not change."""
    matches = [re.fullmatch(r"\w+(?:_\w+)?\s*\(\s*([A-Za-z])\s*\)", parts[0].strip()) for parts in (gold, answer)]
    ours, theirs = matches
    if ours is None or theirs is None or ours[1] == theirs[1] or len(gold) != 3 or len(answer) != 3:
        return False
    function = parse_expression(answer[2])
    if ours[1] in symbols(function):
        return False
    return equal_expressions(parse_expression(gold[2]), rename(function, theirs[1], Node("symbol", name=ours[1])))


def compare_relations(gold: str, answer: str, gold_parts: list[str], answer_parts: list[str]) -> Judgement:
    """Compares two relations that are not assignments: an equation, an inequality, or a chain of these."""
    relations, others = gold_parts[1::2], answer_parts[1::2]
    if len(relations) > _MAX_CHAIN:
        return Judgement(False, "too_long")
    if len(relations) == len(others) == 1:
        ours, theirs = (_difference(parts) for parts in (gold_parts, answer_parts))
        if not symbols(ours) or not symbols(theirs):  # 1 = 1/4, which only labels a value
            sides = zip(gold_parts[::2], answer_parts[::2], strict=True)
            return Judgement(relations == others and all(_same_value(a, b) for a, b in sides), "chain")
        if relations == others == ["="]:
            if proportional(ours, theirs) or same_zeros(ours, theirs):
                return Judgement(True, "equation")
            return Judgement(False, "equation")
        if relations == others:
            return Judgement(proportional(ours, theirs, positive=relations != [r"\ne"]), "inequality")
        if relations == [_FLIPPED.get(others[0])]:
            return Judgement(proportional(ours, Node("product", (number(-1), theirs)), positive=True), "inequality")
        return Judgement(False, "inequality")
    if len(relations) != len(others):
        return Judgement(False, "relation")
    flipped = [_FLIPPED.get(each, each) for each in reversed(others)]
    for operators, values in ((others, answer_parts[::2]), (flipped, answer_parts[::2][::-1])):
        if operators == relations:
            pairs = list(zip(gold_parts[::2], values, strict=True))
            if all(re.sub(r"\s", "", a) == re.sub(r"\s", "", b) or _same_value(a, b) for a, b in pairs):
                return Judgement(True, "chain")
    return Judgement(False, "chain")


def _difference(parts: list[str]) -> Node:
    left, right = (parse_expression(split_unit(part)[0]) for part in (parts[0], parts[2]))
    return Node("sum", (left, Node("product", (number(-1), right))))


def chain_of(parts: list[str]) -> str | None:
    """`b > a, a > c` as the chain `b > a > c`; `None` where the parts do not meet."""
    chain: list[str] = []
    for part in parts:
        pieces = relation_parts(part)
        if len(pieces) != 3 or pieces[1] not in ("<", ">", r"\le", r"\ge") or (chain and pieces[0] != chain[-1]):
            return None
        chain += pieces[1:] if chain else pieces
    return " ".join(chain)
