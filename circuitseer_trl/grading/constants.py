"""Which functions does an answer with arbitrary constants describe? `x^2/2 + C` and `(x^2 + 2)/2 + C_1` are the same ones."""

import re
from dataclasses import dataclass

import mpmath

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, symbols
from circuitseer_trl.grading.relations import assigned
from circuitseer_trl.grading.structure import relation_parts, split_top_level
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import evaluate, irregular

_CONSTANT = re.compile(r"(?:C|const)(?:_\w+)?|\"constant\"")
_ANY_CONSTANT = re.compile(r"[CcKk](?:_\w+)?")
_NAMES = r"(?P<names>[A-Za-z](?:_\w+|_\{\w+\})?(?:\s*(?:,|\\and)\s*[A-Za-z](?:_\w+|_\{\w+\})?)*)"
_SAID = re.compile(
    rf'(?P<body>.+?)[\s,;(]*(?:"(?:where|for (?:all|any|every|some)?[^"]*|其中)"\s*)?{_NAMES}\s*'
    rf'(?:"[^"]*(?:constant|常数|arbitrary|任意)[^"]*"|\\in\s*\{{?\s*R\s*\}}?)[\s).]*',
    re.DOTALL,
)
_SAID_BEFORE = re.compile(rf'(?P<body>.+?)[\s,;(]*"[^"]*(?:constants?|常数)"\s*{_NAMES}[\s).]*', re.DOTALL)
_MAX_CONSTANTS = 6


@dataclass(frozen=True)
class Functions:
    """Functions `special + c_1 basis_1 + c_2 basis_2 + ...` for all constants c, as one expression.

    Attributes:
        node: The expression.
        names: The symbols of the constants.
        said: Whether the text says that they are constants.
    """

    node: Node
    names: frozenset[str]
    said: bool

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(symbols(self.node) - self.names)


def parse_functions(text: str, *, of_constants: bool | None, known: frozenset[str] | None = None) -> Functions | None:
    """The functions that a text describes, or `None`.

    Args:
        of_constants: Whether the question speaks of integrals or arbitrary constants; None if there is no question.
        known: Symbols of the reference that are no constants. New ones may then be constants under other names.
    """
    said = _SAID_BEFORE.fullmatch(text) or _SAID.fullmatch(text)
    body = said["body"].strip() if said else text
    try:
        if len(split_top_level(body)) > 1 or (len(relation_parts(body)) > 1 and assigned(body) is None):
            return None
        node = parse_expression(assigned(body) or body)
    except ParseError:
        return None
    present = symbols(node)
    names = {re.sub(r"[\s{}]", "", name) for name in re.split(r",|\\and", said["names"])} & present if said else set()
    if not names and known is not None:
        names = present - known
    pattern = _ANY_CONSTANT if of_constants else _CONSTANT
    names = names or {name for name in present if pattern.fullmatch(name)}
    if said is None and known is None and not of_constants:
        # Without a word on it, a C is a constant only where it is added, or where there are several.
        added = {arg.name for arg in node.args if arg.kind == "symbol"} if node.kind == "sum" else set()
        if of_constants is False or not (names <= added or len(names) > 1) or len(present - names) != 1:
            return None
    if not names or len(names) > _MAX_CONSTANTS or not present - names:
        return None
    return Functions(node, frozenset(names), said is not None)


def same_functions_up_to_constants(one: Functions, other: Functions) -> bool | None:
    """Whether two describe the same functions; None where a constant does not enter linearly, which is not decided."""
    names = sorted((symbols(one.node) - one.names) | (symbols(other.node) - other.names))
    rows, theirs = [], []
    with mpmath.workdps(40):
        for row in range(2 * (len(one.names) + len(other.names)) + 4):
            point = {name: irregular(row, column) * (1 if row % 3 else -1) for column, name in enumerate(names)}
            try:
                ours_here, theirs_here = (_parts(each, point) for each in (one, other))
            except (ZeroDivisionError, OverflowError, ValueError):
                continue
            if ours_here is None or theirs_here is None:
                return None
            if all(mpmath.im(value) == 0 for value in (*ours_here, *theirs_here)):
                rows.append(ours_here)
                theirs.append(theirs_here)
        if len(rows) < len(one.names) + len(other.names) + 2:
            return None
        basis, their_basis = [each[1:] for each in rows], [each[1:] for each in theirs]
        both = [[*a[1:], *b[1:], a[0] - b[0]] for a, b in zip(rows, theirs, strict=True)]
        return _rank(basis) == _rank(their_basis) == _rank(both)


def _parts(functions: Functions, point: dict[str, mpmath.mpf]) -> list[mpmath.mpf] | None:
    """The special function and the basis at one point; None where the expression is not linear in its constants."""
    names = sorted(functions.names)

    def value(constants: dict[str, mpmath.mpf]) -> mpmath.mpf:
        return evaluate(functions.node, {**point, **dict.fromkeys(names, mpmath.mpf(0)), **constants})

    special = value({})
    basis = [value({name: mpmath.mpf(1)}) - special for name in names]
    mixed = {name: irregular(9, column) for column, name in enumerate(names)}
    expected = special + mpmath.fsum(mixed[name] * each for name, each in zip(names, basis, strict=True))
    scale = 1 + abs(special) + mpmath.fsum(map(abs, basis))
    return [special, *basis] if abs(value(mixed) - expected) < scale * mpmath.mpf(10) ** -25 else None


def _rank(rows: list[list[mpmath.mpf]]) -> int:
    """The rank of a matrix, by elimination with the largest pivot."""
    rows = [list(row) for row in rows]
    scale = max((abs(value) for row in rows for value in row), default=mpmath.mpf(0))
    rank = 0
    while rows:
        pivot = max(((abs(value), r, c) for r, row in enumerate(rows) for c, value in enumerate(row)), default=None)
        if pivot is None or pivot[0] <= scale * mpmath.mpf(10) ** -18:
            break
        _, r, c = pivot
        chosen = rows.pop(r)
        rows = [[a - b * row[c] / chosen[c] for a, b in zip(row, chosen, strict=True)] for row in rows]
        rank += 1
    return rank
