"""Sets of real numbers as unions of intervals, however they are written."""

import re
from dataclasses import dataclass
from fractions import Fraction

import mpmath

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, number, symbols
from circuitseer_trl.grading.structure import relation_parts, split_top_level, strip_brackets
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import equal_expressions, evaluate, exact

_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


@dataclass(frozen=True)
class Interval:
    """An interval; a bound that is `None` is infinite, and open."""

    low: Node | None
    low_closed: bool
    high: Node | None
    high_closed: bool


@dataclass(frozen=True)
class IntervalSet:
    """A union of intervals.

    Args:
        ambiguous (`bool`): Written as `(a, b)`, which may be a point too.
    """

    intervals: tuple[Interval, ...]
    ambiguous: bool = False


def parse_interval_set(text: str) -> IntervalSet | None:
    """The set that a union of intervals, a set-builder or an inequality in one unknown describes, or `None`."""
    text = text.strip()
    try:
        parts = relation_parts(text)
        if (
            len(parts) == 3
            and parts[1] in ("=", r"\in")
            and re.fullmatch(r"\\?[A-Za-z]+(?:\([A-Za-z]\))?|\"[^\"]*\"", parts[0])
        ):
            named = parse_interval_set(parts[2])
            if named is not None:
                return IntervalSet(named.intervals, named.ambiguous and parts[1] == "=")
        inner = strip_brackets(text, r"\{", r"\}") or strip_brackets(text, "{", "}")
        if inner is not None:
            builder = re.fullmatch(r"\s*([A-Za-z])(?:\s*\\in\s*(?:\\?R|\{R\}))?\s*[|:]\s*(.+)", inner)
            return _from_inequalities(builder[2], builder[1]) if builder else None
        if len(parts) > 1:
            return _from_inequalities(text, None)
        return _from_union(text)
    except ParseError:
        return None


def _from_union(text: str) -> IntervalSet | None:
    pieces = re.split(r"\\cup(?![A-Za-z])", text)
    if len(pieces) == 1 and not re.fullmatch(r"[(\[].*[)\]]", text):
        return None
    intervals: list[Interval] = []
    for piece in map(str.strip, pieces):
        points = strip_brackets(piece, r"\{", r"\}")
        if points is not None and len(pieces) > 1:
            nodes = [parse_expression(point) for point in split_top_level(points)]
            intervals += [Interval(node, True, node, True) for node in nodes]
            continue
        if not re.fullmatch(r"[(\[].*[)\]]", piece):
            return None
        bounds = split_top_level(piece[1:-1])
        if len(bounds) != 2:
            return None
        low, high = map(_bound, bounds)
        if (low is None and piece[0] == "[") or (high is None and piece[-1] == "]"):
            return None
        intervals.append(
            Interval(low, piece[0] == "[" and low is not None, high, piece[-1] == "]" and high is not None)
        )
    infinite = any(each.low is None or each.high is None for each in intervals)
    return IntervalSet(
        tuple(intervals), ambiguous=len(pieces) == 1 and text[0] == "(" and text[-1] == ")" and not infinite
    )


def _bound(text: str) -> Node | None:
    return None if re.fullmatch(r"[+-]?\s*\\infty", text.strip()) else parse_expression(text)


def _from_inequalities(text: str, unknown: str | None) -> IntervalSet | None:
    """`x < 2 or x > 3`, `0 < x \\le 5`: inequalities that are linear in their one unknown."""
    intervals: list[Interval] = []
    for part in re.split(r"\\(?:and|or)(?![A-Za-z])|\\cup(?![A-Za-z])", text):
        part = re.sub(r",?\s*[A-Za-z]\s*\\in\s*\\?\{?R\}?\s*$", "", part.strip()).strip(" ,")
        parts = relation_parts(part)
        operators = parts[1::2]
        if len(parts) == 3 and operators == ["="] and intervals and re.fullmatch(r"[A-Za-z]", parts[0]):
            point = parse_expression(parts[2])
            intervals.append(Interval(point, True, point, True))
            continue
        if len(parts) not in (3, 5) or not all(operator in _FLIPPED for operator in operators):
            return None
        nodes = [_node(each) for each in parts[::2]]
        names = set[str]().union(*(symbols(node) for node in nodes if node is not None))
        name = unknown or (next(iter(names)) if len(names) == 1 else None)
        if name is None:
            return None
        interval = _solve_chain(nodes, operators, name)
        if interval is None:
            return None
        intervals.append(interval)
    return IntervalSet(tuple(intervals))


def _node(text: str) -> Node | None:
    return _bound(text)


def _solve_chain(nodes: list[Node | None], operators: list[str], name: str) -> Interval | None:
    middle = nodes[1] if len(nodes) == 3 else None
    if len(nodes) == 3:
        if (
            middle is None
            or middle.kind != "symbol"
            or middle.name != name
            or {operators[0][-1], operators[1][-1]}
            not in (
                {"<"},
                {"e", "<"},
                {"e"},
                {">"},
                {"e", ">"},
            )
        ):
            return None
        if operators[0] in (">", r"\ge"):
            nodes, operators = nodes[::-1], [_FLIPPED[each] for each in reversed(operators)]
        if any(operator not in ("<", r"\le") for operator in operators):
            return None
        low, high = nodes[0], nodes[2]
        return Interval(
            low, operators[0] == r"\le" and low is not None, high, operators[1] == r"\le" and high is not None
        )
    left, right = nodes
    if left is None or right is None:
        return None
    difference = Node("sum", (left, Node("product", (number(-1), right))))
    if symbols(difference) != {name}:
        return _isolated(left, right, operators[0], name)
    with mpmath.workdps(40):
        try:
            at = [evaluate(difference, {name: mpmath.mpf(point)}) for point in (0, 1, 2)]
        except (ZeroDivisionError, OverflowError, ValueError):
            return _isolated(left, right, operators[0], name)
        slope = at[1] - at[0]
        if abs(at[2] - at[1] - slope) > mpmath.mpf(10) ** -25 or slope == 0:
            return None
        if left.kind == "symbol" and name not in symbols(right):
            return _isolated(left, right, operators[0], name)
    values = [_rational_at(difference, name, point) for point in (0, 1)]
    if values[0] is None or values[1] is None:
        return _isolated(left, right, operators[0], name)
    root = number(-values[0] / (values[1] - values[0]))
    operator = operators[0] if slope > 0 else _FLIPPED[operators[0]]
    return _half_line(root, operator)


def _rational_at(node: Node, name: str, point: int) -> Fraction | None:
    def put(each: Node) -> Node:
        if each.kind == "symbol" and each.name == name:
            return number(point)
        return Node(each.kind, tuple(map(put, each.args)), each.value, each.name)

    return exact(put(node))


def _isolated(left: Node, right: Node, operator: str, name: str) -> Interval | None:
    """`x < bound`, where the bound may hold other letters."""
    if left.kind == "symbol" and left.name == name and name not in symbols(right):
        return _half_line(right, operator)
    if right.kind == "symbol" and right.name == name and name not in symbols(left):
        return _half_line(left, _FLIPPED[operator])
    return None


def _half_line(bound: Node, operator: str) -> Interval:
    if operator in ("<", r"\le"):
        return Interval(None, False, bound, operator == r"\le")
    return Interval(bound, operator == r"\ge", None, False)


def _same_bound(one: Node | None, other: Node | None) -> bool:
    return one is other is None or (one is not None and other is not None and equal_expressions(one, other))


def _same_interval(one: Interval, other: Interval) -> bool:
    closed = (one.low_closed, one.high_closed) == (other.low_closed, other.high_closed)
    return closed and _same_bound(one.low, other.low) and _same_bound(one.high, other.high)


def same_intervals(one: IntervalSet, other: IntervalSet) -> bool:
    """Whether two unions have the same intervals, in any order."""
    remaining = list(other.intervals)
    for interval in one.intervals:
        found = next((each for each in remaining if _same_interval(interval, each)), None)
        if found is None:
            return False
        remaining.remove(found)
    return not remaining
