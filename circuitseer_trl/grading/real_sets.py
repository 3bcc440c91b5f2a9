"""Sets of real numbers, however they are written: as the rule for what is inside, and where that may change."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import mpmath

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, TooCostlyError, number, symbols
from circuitseer_trl.grading.structure import relation_parts, split_top_level, strip_brackets
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import close, evaluate, exact, zeros_on_line

Member = Callable[[mpmath.mpf], bool]

_MAX_CHAIN, _MAX_CONDITIONS = 7, 20
_REALS = r'(?:R|\{\s*R\s*\}|"(?:all )?(?:the )?reals?(?: numbers?)?"|"实数")'
_SUBJECT = r"\\?[A-Za-z]+(?:_\w|_\{\w+\})?(?:\s*\(\s*[A-Za-z]\s*\))?"
_OPERATORS: dict[str, Callable[[mpmath.mpf, mpmath.mpf], bool]] = {
    "<": lambda a, b: a < b and (mpmath.isinf(b - a) or not close(a, b)),
    ">": lambda a, b: a > b and (mpmath.isinf(a - b) or not close(a, b)),
    r"\le": lambda a, b: a <= b or close(a, b),
    r"\ge": lambda a, b: a >= b or close(a, b),
    r"\ne": lambda a, b: not close(a, b),
    "=": close,
}


@dataclass(frozen=True)
class RealSet:
    """A set of real numbers.

    Attributes:
        member: Tells whether a number is inside.
        marks: Numbers at which that may change.
        ambiguous: Whether it is written as `(a, b)`, which may also be a point.
    """

    member: Member
    marks: tuple[mpmath.mpf, ...]
    ambiguous: bool = False


def complement(sets: "list[RealSet | None]") -> RealSet | None:
    """What is in none of the sets; None where one of them is not known."""
    known = [each for each in sets if each is not None]
    if len(known) < len(sets) or not known:
        return None
    return RealSet(lambda x: not any(each.member(x) for each in known), tuple(m for each in known for m in each.marks))


def same_sets(one: RealSet, other: RealSet) -> bool:
    """Whether two sets agree at every mark, between them and beyond."""
    with mpmath.workdps(40):
        try:
            return all(one.member(x) == other.member(x) for points in sample_points([one, other]) for x in points)
        except (ZeroDivisionError, OverflowError, ValueError):
            return False


def sample_points(sets: list[RealSet]) -> tuple[list[mpmath.mpf], list[mpmath.mpf]]:
    """The marks of all sets, and numbers between them and beyond."""
    marks = sorted({mark for each in sets for mark in each.marks})
    finite = [
        mark for n, mark in enumerate(marks) if mpmath.isfinite(mark) and (n == 0 or not close(mark, marks[n - 1]))
    ]
    distinct = finite or [mpmath.mpf(0)]
    between = [distinct[0] - step for step in (1e-9, 1, 1000)] + [distinct[-1] + step for step in (1e-9, 1, 1000)]
    for low, high in pairwise(distinct):
        between += [low + (high - low) * part for part in (mpmath.mpf(1e-9), mpmath.mpf(0.37), mpmath.mpf(0.81))]
    return [*distinct, *(mark for mark in marks if mpmath.isinf(mark))], between


def parse_real_set(text: str) -> RealSet | None:
    """The set that intervals, a set-builder, conditions on one unknown or a difference of these describe, or `None`."""
    with mpmath.workdps(40):
        try:
            return _set(text.strip())
        except (ParseError, TooCostlyError, ZeroDivisionError, OverflowError):
            return None


def _set(text: str) -> RealSet | None:
    text = re.sub(r'^(?:A(?=\s*=)|"[^"]*domain[^"]*"\s*(?:[:=]|"is")?)', "x", text)
    if named := re.match(rf"^{_SUBJECT}\s*\\in\s*(.+)$", text):
        inside = _set(named[1].strip())
        return inside and RealSet(inside.member, inside.marks)
    if named := re.match(rf"^{_SUBJECT}\s*=\s*(.*[(\[{{\\].*)$", text):
        return _set(named[1].strip()) if re.match(r"[(\[]|\\\{", named[1].strip()) and "," in named[1] else None
    if re.fullmatch(_REALS, text):
        return RealSet(lambda x: True, ())
    if all_but := re.match(rf"^{_REALS}\s*(?:\\setminus|-|/)\s*(.+)$", text):
        text = rf"R \setminus {all_but[1]}"
    if all_but := re.match(r'^"all (?:the )?(?:real )?numbers(?: [a-z])? except(?: for)?"\s*(.+)$', text.casefold()):
        text = rf"R \setminus \{{ {all_but[1]} \}}"
    pieces = _split(text, r"\\setminus")
    if len(pieces) > 1:
        return _difference(pieces)
    inner = strip_brackets(text, r"\{", r"\}") or strip_brackets(text, "{", "}")
    if inner is not None:
        builder = re.fullmatch(r"\s*([A-Za-z])(?:\s*\\in\s*(?:R|\{\s*R\s*\}))?\s*[|:]\s*(.+)", inner)
        return _conditions(builder[2], builder[1]) if builder else None
    if len(relation_parts(text)) > 1:
        return _conditions(text, None)
    return _union(text)


def _split(text: str, separator: str) -> list[str]:
    """Parts between a separator that stands in no brackets."""
    return split_top_level(text, separator + r"(?![A-Za-z])")


def _difference(pieces: list[str]) -> RealSet | None:
    whole = _set(pieces[0])
    without = [_points(piece) or _set(piece) for piece in pieces[1:]]
    if whole is None or None in without:
        return None
    taken = [each for each in without if each is not None]
    marks = (*whole.marks, *(mark for each in taken for mark in each.marks))
    return RealSet(lambda x: whole.member(x) and not any(each.member(x) for each in taken), marks)


def _points(text: str) -> RealSet | None:
    """A finite set in braces."""
    inner = strip_brackets(text, r"\{", r"\}") or strip_brackets(text, "{", "}")
    if inner is None or re.search(r"[|:]", inner):
        return None
    values = [_constant(point) for point in split_top_level(inner)]
    if any(value is None for value in values):
        return None
    marks = tuple(value for value in values if value is not None)
    return RealSet(lambda x: any(close(x, mark) for mark in marks), marks)


def _constant(text: str) -> mpmath.mpf | None:
    """A real value, infinity included."""
    if infinite := re.fullmatch(r"([+-]?)\s*\\infty", text.strip()):
        return mpmath.mpf("-inf" if infinite[1] == "-" else "inf")
    node = parse_expression(text)
    if symbols(node):
        return None
    value = evaluate(node, {})
    return value if mpmath.im(value) == 0 else None


def _union(text: str) -> RealSet | None:
    pieces = _split(text, r"(?:\\cup|\\or|\\and)")
    if len(pieces) == 1 and re.search(r"[\])]\s*[,;]\s*[(\[]", text):
        pieces = split_top_level(text)
    sets = []
    for piece in pieces:
        each = _interval(piece) or (_points(piece) if len(pieces) > 1 else None)
        if each is None:
            return None
        sets.append(each)
    if len(sets) == 1:
        return sets[0]
    # Two pairs with commas between are two points, unless one of them can only be an interval.
    ambiguous = not re.search(r"\\cup", text) and all(each.ambiguous for each in sets)
    marks = tuple(mark for each in sets for mark in each.marks)
    return RealSet(lambda x: any(each.member(x) for each in sets), marks, ambiguous)


def _interval(text: str) -> RealSet | None:
    text = text.strip()
    if outward := re.fullmatch(r"([\[\]])([^()\[\]]*)([\[\]])", text):  # ]a, b[
        text = f"{'[' if outward[1] == '[' else '('}{outward[2]}{']' if outward[3] == ']' else ')'}"
    text = re.sub(r"^[A-Za-z]\s*(?=\[|\(.*\]$)", "", text)  # t(0,4]
    if not re.fullmatch(r"[(\[].*[)\]]", text):
        return None
    bounds = split_top_level(text[1:-1], ",")
    if len(bounds) != 2:
        return None
    low, high = map(_constant, bounds)
    closed = text[0] == "[", text[-1] == "]"
    if low is None or high is None or low > high or (low == high and closed != (True, True)):
        return None
    if any(end and mpmath.isinf(bound) for end, bound in zip(closed, (low, high), strict=True)):
        return None
    above = _OPERATORS[r"\ge" if closed[0] else ">"]
    below = _OPERATORS[r"\le" if closed[1] else "<"]
    finite = tuple(bound for bound in (low, high) if not mpmath.isinf(bound))

    def member(x: mpmath.mpf) -> bool:
        return (mpmath.isinf(low) or above(x, low)) and (mpmath.isinf(high) or below(x, high))

    return RealSet(member, finite, closed == (False, False) and len(finite) == 2)


def _conditions(text: str, unknown: str | None) -> RealSet | None:
    """`x < 2 or x > 3`, `0 < x \\le 5, x \\ne 1`: conditions on one unknown."""
    text = re.sub(r",?\s*[A-Za-z]\s*\\in\s*(?:R|\{\s*R\s*\})\s*$", "", text)
    alternatives: list[list[RealSet]] = []
    excluded: str | None = None
    for alternative in _split(text, r"(?:\\cup|\\or)"):
        together: list[RealSet] = []
        for part in _split(alternative, r"(?:[,;]|\\and)"):
            if len(alternatives) + len(together) > _MAX_CONDITIONS:
                return None
            if together and len(relation_parts(part)) == 1 and excluded is not None:
                part = rf"{excluded} \ne {part}"  # x \ne 0, 1
            parts = relation_parts(part)
            excluded = parts[0] if len(parts) == 3 and parts[1] == r"\ne" else None
            one = _inequality(parts, unknown)
            if one is None:
                return None
            condition, unknown = one
            together.append(condition)
        alternatives.append(together)
    marks = tuple(mark for together in alternatives for each in together for mark in each.marks)
    return RealSet(lambda x: any(all(each.member(x) for each in together) for together in alternatives), marks)


def _inequality(parts: list[str], unknown: str | None) -> tuple[RealSet, str] | None:
    if not 3 <= len(parts) <= _MAX_CHAIN or any(operator not in _OPERATORS for operator in parts[1::2]):
        return None
    if parts[1::2] == ["="] and unknown is None:
        return None
    sides: list[Node | mpmath.mpf] = []
    for text in parts[::2]:
        text = re.sub(r"^([A-Za-z])\s*\(\s*[A-Za-z]\s*\)$", r"\1", text)  # 0 < f(x) < 1
        infinite = re.fullmatch(r"([+-]?)\s*\\infty", text)
        sides.append(mpmath.mpf(f"{infinite[1]}inf") if infinite else parse_expression(text))
    names = set[str]().union(*(symbols(side) for side in sides if isinstance(side, Node)))
    if len(names) != 1 or (unknown is not None and names != {unknown}):
        return None
    (name,) = names

    def value(side: Node | mpmath.mpf, x: mpmath.mpf) -> mpmath.mpf:
        return evaluate(side, {name: x}) if isinstance(side, Node) else side

    def member(x: mpmath.mpf) -> bool:
        try:
            values = [value(side, x) for side in sides]
        except ZeroDivisionError:
            return False
        if any(mpmath.im(each) != 0 for each in values):
            return False
        pairs = pairwise(values)
        return all(_OPERATORS[operator](a, b) for operator, (a, b) in zip(parts[1::2], pairs, strict=True))

    marks: list[mpmath.mpf] = []
    for left, right in pairwise(sides):
        if isinstance(left, Node) and isinstance(right, Node):
            marks += _zeros(left, right, name)
    return RealSet(member, tuple(marks)), name


def _zeros(left: Node, right: Node, name: str) -> list[mpmath.mpf]:
    for side, bound in ((left, right), (right, left)):
        if side.kind in ("symbol", "abs") and not symbols(bound):
            at = evaluate(bound, {})
            return [] if mpmath.im(at) != 0 else [at] if side.kind == "symbol" and side.name == name else [at, -at]
    difference = Node("sum", (left, Node("product", (number(-1), right))))
    at_points = [exact(_put(difference, name, point)) for point in (0, 1, 2)]
    if None not in at_points:
        zero, one, two = (value for value in at_points if value is not None)
        if two - one == one - zero != 0:
            root = -zero / (one - zero)
            return [mpmath.mpf(root.numerator) / root.denominator]
    return zeros_on_line(difference, name, {})


def _put(node: Node, name: str, point: int) -> Node:
    if node.kind == "symbol" and node.name == name:
        return number(point)
    return Node(node.kind, tuple(_put(arg, name, point) for arg in node.args), node.value, node.name)
