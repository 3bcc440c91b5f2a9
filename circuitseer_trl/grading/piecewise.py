"""Are two functions by cases the same? Case by case, or by their values wherever the conditions are sets of reals."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath

from circuitseer_trl.grading.families import parse_family, same_families
from circuitseer_trl.grading.nodes import symbols
from circuitseer_trl.grading.phrases import OTHERWISE
from circuitseer_trl.grading.reading import Reading, read
from circuitseer_trl.grading.real_sets import RealSet, complement, sample_points
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import close, evaluate

Rows = Sequence[list[Reading]]
Same = Callable[[Reading, Reading], bool]
_PARITY = re.compile(r'([a-z])\s*"(?:is )?(?:an? )?(odd|even)(?: number| integer)?"')


@dataclass(frozen=True)
class _Piece:
    """A value, where it holds, and the letters of that condition."""

    value: Reading
    where: RealSet
    letters: frozenset[str]


def same_cases(ours: Rows, theirs: Rows, same: Same) -> bool:
    """Whether the cases have the same values under the same conditions, in any order."""
    return _case_by_case(ours, theirs, same) or _everywhere(ours, theirs, same)


def _case_by_case(ours: Rows, theirs: Rows, same: Same) -> bool:
    remaining = list(theirs)
    for row in ours:
        found = next((each for each in remaining if _same_case(row, each, same)), None)
        if found is None:
            return False
        remaining.remove(found)
    return not remaining


def _same_case(row: list[Reading], other: list[Reading], same: Same) -> bool:
    if len(row) != len(other) or not row or not same(row[0], other[0]):
        return False
    return all(_same_condition(one, two, same) for one, two in zip(row[1:], other[1:], strict=True))


def _same_condition(one: Reading, other: Reading, same: Same) -> bool:
    if one.compact == other.compact or (OTHERWISE.search(one.text) and OTHERWISE.search(other.text)):
        return True
    ours, theirs = (parse_family(_PARITY.sub(_as_family, each.text), said=False) for each in (one, other))
    return same_families(ours, theirs) if ours is not None and theirs is not None else same(one, other)


def _as_family(match: re.Match[str]) -> str:
    """The even n as n = 2k."""
    return f"{match[1]} = 2{'m' if match[1] == 'k' else 'k'}" + ("+1" if match[2] == "odd" else "")


def _everywhere(ours: Rows, theirs: Rows, same: Same) -> bool:
    """Whether both have the same value at every number: x for x < 1 and x^2 for x >= 1 may change places at 1."""
    pieces, their_pieces = _pieces(ours), _pieces(theirs)
    if pieces is None or their_pieces is None:
        return False
    with mpmath.workdps(40):
        marks, between = sample_points([each.where for each in (*pieces, *their_pieces)])
        compared = set[tuple[int, int]]()
        for point in (*between, *marks):
            try:
                here, there = ([n for n, e in enumerate(of) if e.where.member(point)] for of in (pieces, their_pieces))
            except (ZeroDivisionError, OverflowError, ValueError):
                return False
            if bool(here) != bool(there):
                return False
            for pair in ((one, other) for one in here for other in there):
                one, other = pieces[pair[0]], their_pieces[pair[1]]
                if pair not in compared and point in marks and _equal_at(point, one, other):
                    continue
                if pair not in compared and not same(one.value, other.value):
                    return False
                compared.add(pair)
    return True


def _pieces(rows: Rows) -> list[_Piece] | None:
    if any(len(row) != 2 for row in rows):
        return None
    sets = [_where(row[1]) for row in rows]
    known = [each for each, row in zip(sets, rows, strict=True) if not OTHERWISE.search(row[1].text)]
    sets = [complement(known) if OTHERWISE.search(row[1].text) else each for each, row in zip(sets, rows, strict=True)]
    letters = frozenset(
        name for row in rows for name in re.findall(r'(?<![\\A-Za-z"])[A-Za-z](?![A-Za-z"])', row[1].text)
    )
    return [_Piece(row[0], each, letters) for row, each in zip(rows, sets, strict=True) if each] if all(sets) else None


def _where(condition: Reading) -> RealSet | None:
    """A condition as a set; x = 1 is the set of 1."""
    if len(condition.parts) == 3 and condition.parts[1] == "=":
        return complement([read(rf"{condition.parts[0]} \ne {condition.parts[2]}").real_set])
    return condition.real_set


def _equal_at(point: mpmath.mpf, one: _Piece, other: _Piece) -> bool:
    try:
        nodes = [each.value.node for each in (one, other)]
        if (
            len(one.letters) != 1
            or one.letters != other.letters
            or not one.letters >= set().union(*map(symbols, nodes))
        ):
            return False
        at = dict.fromkeys(one.letters, point)
        return close(*(evaluate(node, at) for node in nodes))
    except (ParseError, ZeroDivisionError, OverflowError, ValueError):
        return False
