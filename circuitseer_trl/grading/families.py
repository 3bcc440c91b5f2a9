"""Sets with a member for every integer: `{x | x = 3k, k in Z}`, `pi/6 + k pi`."""

import re
from dataclasses import dataclass

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, number, rename, symbols
from circuitseer_trl.grading.structure import strip_brackets
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import equal_expressions, exact

_DOMAIN = r"(?P<dummy>[A-Za-z])\s*\\in\s*\{?\s*(?P<domain>[ZN])\s*\}?\s*(?P<script>(?:[_^]\s*\{?[^{}]*\}?)*)"


@dataclass(frozen=True)
class Family:
    """An expression whose symbol runs over a set of integers."""

    member: Node
    dummy: str
    domain: str


def parse_family(text: str) -> Family | None:
    """The family that a text describes, or `None`."""
    inner = strip_brackets(text, r"\{", r"\}") or strip_brackets(text, "{", "}")
    body = (inner if inner is not None else text).strip()
    try:
        if inner is None and (multiples := re.fullmatch(r"(\d+)\s*\{?\s*Z\s*\}?", body)):
            return Family(Node("product", (number(int(multiples[1])), Node("symbol", name="k"))), "k", "Z")
        match = re.fullmatch(rf"(?P<body>.*?)(?:[,|:;]|\s)\s*(?:\"(?:where|for|for all)\"\s*)?{_DOMAIN}\s*", body)
        if match is None:
            return None
        body = match["body"].strip()
        body = re.sub(r"^([A-Za-z])\s*(?:\\in\s*\{?\s*R\s*\}?\s*)?[|:]\s*\1\s*=", "", body).strip(" |:,")
        body = re.sub(r"^[A-Za-z]\s*=", "", body)
        return Family(parse_expression(body), match["dummy"], match["domain"] + re.sub(r"[\s{}]", "", match["script"]))
    except ParseError:
        return None


def same_families(one: Family, other: Family) -> bool:
    """Whether two families have the same members."""
    ours = rename(one.member, one.dummy, Node("symbol", name="k"))
    theirs = rename(other.member, other.dummy, Node("symbol", name="k"))
    if one.domain != other.domain:
        return False
    return equal_expressions(ours, theirs) or (one.domain == "Z" and same_progressions(ours, theirs, "k"))


def same_progressions(one: Node, other: Node, dummy: str) -> bool:
    """Whether `a k + b` takes the same values as another such expression when k runs over the integers."""
    if dummy not in symbols(one) & symbols(other):
        return False
    (start, step), (their_start, their_step) = (_affine(node, dummy) for node in (one, other))
    minus = number(-1)
    if not any(equal_expressions(step, each) for each in (their_step, Node("product", (minus, their_step)))):
        return False
    shift = Node("sum", (start, Node("product", (minus, their_start))))
    quotient = Node("product", (shift, Node("power", (step, minus))))
    value = exact(quotient)
    if value is None:
        nearest = [number(n) for n in range(-3, 4)]
        shifted = any(equal_expressions(shift, Node("product", (step, n))) for n in nearest)
    else:
        shifted = value.denominator == 1
    straight = [
        Node("sum", (s, Node("product", (t, number(2))))) for s, t in ((start, step), (their_start, their_step))
    ]
    at_two = [rename(node, dummy, number(2)) for node in (one, other)]
    return shifted and all(equal_expressions(a, b) for a, b in zip(straight, at_two, strict=True))


def _affine(node: Node, dummy: str) -> tuple[Node, Node]:
    at_zero, at_one = (rename(node, dummy, number(point)) for point in (0, 1))
    return at_zero, Node("sum", (at_one, Node("product", (number(-1), at_zero))))
