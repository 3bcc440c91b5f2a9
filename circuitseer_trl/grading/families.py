"""Do two sets with a member for every integer have the same ones? `{x | x = 3k, k in Z}`, `pi/6 + k pi`, `[k pi, k pi + 1]`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import mpmath

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, in_radians, number, rename, symbols
from circuitseer_trl.grading.relations import assigned, name_of
from circuitseer_trl.grading.structure import expand_signs, relation_parts, split_top_level, strip_brackets
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.values import close, equal_expressions, evaluate, irregular

_LETTER = r"(?P<dummy>[A-Za-z])"
_SETS = r"\{?\s*(?P<domain>[ZN])\s*\}?\s*(?P<script>(?:[_^]\s*(?:\{[^{}]*\}|[*+\d]))*)"
_WORD = r'"(?:where|for|for all|for any|for some|for every|其中|且|with|and)"'
_DOMAIN = re.compile(
    rf"(?P<body>.*?)\s*(?:[,|:;(\[]|\s|\\and(?![A-Za-z]))\s*(?:{_WORD}\s*,?\s*)?(?:{_LETTER}\s*\\in\s*{_SETS}"
    rf'|(?:"where\s*)?{_LETTER.replace("dummy", "worded")}\s*"?\s*"?'
    r'(?:(?:is )?(?:any?|some) (?:arbitrary )?integer|为?(?:任意)?整数)"'
    rf'|"(?:where |for )?(?:any|all|every|each|an|some) (?:arbitrary )?integers?"\s*{_LETTER.replace("dummy", "after")}'
    rf"|{_LETTER.replace('dummy', 'listed')}\s*=\s*0\s*,\s*\\pm\s*1\s*,.*)\s*[)\]]?\s*",
    re.DOTALL,
)
_EACH = r"(?P<each>[A-Za-z])\s*\\in\s*\{?\s*[ZN]\s*\}?"
_DUMMIES = {"k", "n", "m", "l"}
_MAX_MEMBERS = 240
_TERMS = 16


@dataclass(frozen=True)
class Member:
    """One of a family's kinds of members.

    Attributes:
        kind: "=" of a value, "\\ne" of one left out, or the brackets of an interval.
        bounds: The value, or both ends of the interval.
    """

    kind: str
    bounds: tuple[Node, ...]


@dataclass(frozen=True)
class Family:
    """Members with a symbol, named k, that runs over a set of integers."""

    members: tuple[Member, ...]
    domain: str

    @property
    def in_radians(self) -> "Family":
        turned = (Member(each.kind, tuple(map(in_radians, each.bounds))) for each in self.members)
        return Family(tuple(turned), self.domain)


def parse_family(text: str, *, said: bool = True) -> Family | None:
    """The family that a text describes, or `None`.

    Args:
        said: Whether the text has to say that a symbol is an integer, or to be about angles.
    """
    text = re.sub(
        r"^\s*\\\{(.*)\\\}\s*_\s*\{?\s*([A-Za-z]\s*\\in\s*[ZN][^{}]*)\}?\s*$", r"\1, \2", text
    )  # {k pi}_{k in Z}
    # The same remark after each of several members: only the last one stays.
    text = re.sub(rf",?\s*{_EACH}(?=\s*(?:[,;]|\\(?:or|and)(?![A-Za-z])).*(?P=each)\s*\\in)", " ", text)
    inner = strip_brackets(text, r"\{", r"\}") or strip_brackets(text, "{", "}")
    body = (inner if inner is not None else text).strip()
    try:
        if inner is None and (multiples := re.fullmatch(r"(\d+)\s*\{?\s*Z\s*\}?", body)):
            return Family(
                (Member("=", (Node("product", (number(int(multiples[1])), Node("symbol", name="k"))),)),), "Z"
            )
        match = _DOMAIN.fullmatch(body)
        if match is not None:
            dummy = match["dummy"] or match["worded"] or match["after"] or match["listed"]
            domain = (match["domain"] or "Z") + re.sub(r"[\s{}^_]", "", match["script"] or "")
            body = match["body"].lstrip(" |:,").rstrip(" |:,(")
            inner = strip_brackets(body, r"\{", r"\}")  # {x | x = 3k}, k \in Z
            body = inner if inner is not None else body
        elif (dummy := _unnamed_dummy(body, said)) is not None:
            domain = "Z"
        else:
            return None
        body = re.sub(r"^([A-Za-z])\s*(?:\\in\s*\{?\s*R\s*\}?\s*)?[|:]\s*(?=\1\s*(?:=|\\)|.*[<>]|.*\\[lg]e)", "", body)
        members = [_member(each, dummy) for part in _one_point(_pieces(body)) for each in expand_signs(part)]
        if re.search(rf"\(\s*-1\s*\)\s*\^\s*\{{?\s*{dummy}", body):  # (-1)^n: even and odd numbers by themselves
            members = [_of_parity(member, odd) for member in members for odd in (0, 1)]
    except ParseError:
        return None
    if not members or not any("k" in symbols(bound) for member in members for bound in member.bounds):
        return None
    found = Family(tuple(members), {"N*": "N1", "N+": "N1", "Z+": "N1", "Z>0": "N1", "N": "N0"}.get(domain, domain))
    return found if match is not None or not said or _are_angles(found, dummy) else None


def _are_angles(family: Family, dummy: str) -> bool:
    """Whether members repeat with parts of pi: only then may an integer go without saying. 2 pi n may be a formula in n."""
    progressions = _progressions(family) if dummy == "k" or len(family.members) > 1 else None
    with mpmath.workdps(40):
        turns = [each.step / mpmath.pi * 5040 for each in progressions or ()]
        return bool(turns) and all(close(turn, mpmath.nint(turn)) for turn in turns)


def _unnamed_dummy(text: str, said: bool) -> str | None:
    """The k of `pi/6 + k pi` where nothing says that it is an integer."""
    found = set(re.findall(r"(?<![\\A-Za-z_])([a-z])(?![A-Za-z])", re.sub(r"\\[A-Za-z]+|^\s*[a-z]\s*=", " ", text)))
    return (
        found.pop()
        if (r"\pi" in text or not said) and len(found) == 1 and found <= _DUMMIES and "^" not in text
        else None
    )


def _pieces(body: str) -> list[str]:
    return split_top_level(body, r"[,;]|\\(?:and|or|cup)(?![A-Za-z])")


def _one_point(pieces: list[str]) -> list[str]:
    """`x = 3t` and `y = 1 - t` as one point, in the order of the letters; other pieces as they are."""
    named = {name_of(piece): assigned(piece) or "" for piece in pieces}
    if None in named or not 1 < len(pieces) == len(named):
        return pieces
    return [f"({','.join(named[name] for name in sorted(map(str, named)))})"]


def _member(text: str, dummy: str) -> Member:
    text = strip_brackets(text, r"\{", r"\}") or text
    parts = relation_parts(text)
    if (value := assigned(text)) is not None and len(parts) == 3:
        return _member(value, dummy)

    def bound(each: str) -> Node:
        return rename(parse_expression(each), dummy, Node("symbol", name="k"))

    interval = re.fullmatch(r"([(\[])(.*)([)\]])", text.strip(), re.DOTALL)
    ends = split_top_level(interval[2], ",") if interval else []
    if interval is not None and len(ends) == 2:
        return Member(interval[1] + interval[3], tuple(map(bound, ends)))
    if len(parts) == 1:
        return Member("=", (bound(text),))
    if len(parts) == 3 and parts[1] == r"\ne" and re.fullmatch(r"\\?[A-Za-z]+", parts[0]):
        return Member(r"\ne", (bound(parts[2]),))
    if len(parts) == 5 and re.fullmatch(r"\\?[A-Za-z]+", parts[2]) and {parts[1], parts[3]} <= {"<", r"\le"}:
        return Member(
            ("(" if parts[1] == "<" else "[") + (")" if parts[3] == "<" else "]"), (bound(parts[0]), bound(parts[4]))
        )
    raise ParseError("no member of a family")


def _of_parity(member: Member, odd: int) -> Member:
    twice = Node("sum", (Node("product", (number(2), Node("symbol", name="k"))), number(odd)))
    return Member(member.kind, tuple(rename(bound, "k", twice) for bound in member.bounds))


def same_families(one: Family, other: Family) -> bool:
    """Whether two families have the same members; degrees are numbers, or parts of pi where only one of the two has them."""
    if _same_families(one, other):
        return True
    mixed = one.in_radians != one or other.in_radians != other
    return mixed and _same_families(one.in_radians, other.in_radians)


def _same_families(one: Family, other: Family) -> bool:
    if (one.domain == "Z") != (other.domain == "Z"):
        return False
    if one.domain == "Z":
        ours, theirs = _progressions(one), _progressions(other)
        if ours is not None and theirs is not None:
            return _same_progressions(ours, theirs)
    remaining = list(other.members)
    for member in one.members:
        found = next((each for each in remaining if _same_members(member, each, one.domain, other.domain)), None)
        if found is None:
            return False
        remaining.remove(found)
    return not remaining


def _same_members(one: Member, other: Member, domain: str, other_domain: str) -> bool:
    """Whether two kinds of members run through the same values, from the first on or shifted and reversed."""
    if one.kind != other.kind:
        return False
    k = Node("symbol", name="k")
    if domain != "Z":
        first, their_first = (1 if each == "N1" else 0 for each in (domain, other_domain))
        shifts = [(1, their_first - first)]
    else:
        shifts = [(sign, shift) for sign in (1, -1) for shift in (0, 1, -1, 2, -2)]
    for sign, shift in shifts:
        moved = Node("sum", (Node("product", (number(sign), k)), number(shift)))
        if all(equal_expressions(a, rename(b, "k", moved)) for a, b in zip(one.bounds, other.bounds, strict=True)):
            return True
    return False


@dataclass(frozen=True)
class _Progression:
    """Numbers `start + k step`, or intervals of a length that begin there."""

    kind: str
    start: mpmath.mpf
    length: mpmath.mpf
    step: mpmath.mpf


def _progressions(family: Family) -> list[_Progression] | None:
    """The family's members as arithmetic progressions; None where one is none."""
    names = sorted({name for member in family.members for bound in member.bounds for name in symbols(bound)} - {"k"})
    point = {name: irregular(0, column) for column, name in enumerate(names)}
    found = []
    with mpmath.workdps(40):
        try:
            for member in family.members:
                at = [[evaluate(b, {**point, "k": mpmath.mpf(k)}) for k in (0, 1, 2, 7)] for b in member.bounds]
                if any(mpmath.im(value) != 0 for values in at for value in values):
                    return None
                steps = [values[1] - values[0] for values in at]
                if not all(close(v[3] - v[0], 7 * (v[1] - v[0])) and close(v[2] - v[1], v[1] - v[0]) for v in at):
                    return None
                if steps[0] == 0 or not all(close(step, steps[0]) for step in steps):
                    return None
                found.append(_Progression(member.kind, at[0][0], at[-1][0] - at[0][0], abs(steps[0])))
        except (ZeroDivisionError, OverflowError, ValueError):
            return None
    return found


_Residue = tuple[str, mpmath.mpf, mpmath.mpf]  # kind, start as a share of the period, length


def _same_residue(one: _Residue, other: _Residue) -> bool:
    turns = one[1] - other[1]
    return one[0] == other[0] and abs(mpmath.nint(turns) - turns) < 1e-25 and abs(one[2] - other[2]) < 1e-25


def _same_progressions(ours: list[_Progression], theirs: list[_Progression]) -> bool:
    with mpmath.workdps(40):
        unit = ours[0].step
        ratios = [Fraction(int(mpmath.nint(each.step / unit * 5040)), 5040) for each in (*ours, *theirs)]
        if any(
            r == 0 or not close(unit * r.numerator / r.denominator, e.step)
            for r, e in zip(ratios, (*ours, *theirs), strict=True)
        ):
            return False
        whole = lcm(*(ratio.denominator for ratio in ratios))
        period = unit * lcm(*(int(ratio * whole) for ratio in ratios)) / whole
        sides = []
        for side in (ours, theirs):
            residues: list[_Residue] = []
            for each in side:
                for turn in range(int(mpmath.nint(period / each.step))):
                    residues.append((each.kind, (each.start + turn * each.step) / period, each.length))
                    if len(residues) > _MAX_MEMBERS:
                        return False
            sides.append(residues)

        def covers(one: list[_Residue], other: list[_Residue]) -> bool:
            return all(any(_same_residue(ours, theirs) for theirs in other) for ours in one)

        return covers(*sides) and covers(*sides[::-1])
