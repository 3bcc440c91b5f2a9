"""Is one answer equal to one reference? A rule for each type; the first rule that knows the type of the two decides.

A rule takes two readings and gives a verdict, or None where the two are of another type. Its name is the verdict's reason.
"""

import re
from collections.abc import Callable

from circuitseer_trl.grading.families import same_families
from circuitseer_trl.grading.nodes import Node, has, in_radians, symbols
from circuitseer_trl.grading.phrases import same_phrase
from circuitseer_trl.grading.piecewise import same_cases
from circuitseer_trl.grading.reading import Reading, read
from circuitseer_trl.grading.real_sets import same_sets
from circuitseer_trl.grading.relations import Judgement, compare_relations, is_curve, same_functions
from circuitseer_trl.grading.structure import split_top_level
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.units import ratio_of_units
from circuitseer_trl.grading.values import equal_expressions

Rule = Callable[[Reading, Reading], bool | None]


def same_text(gold: Reading, answer: Reading) -> bool | None:
    """The same text, whatever the spaces.

    Right: `d y` for `dy`. Right: `x^{2}` for `x^2`.
    """
    return True if gold.compact == answer.compact else None


def piecewise(gold: Reading, answer: Reading) -> bool | None:
    """A function defined by cases: the same values under the same conditions, in any order.

    Right: `\\begin{cases} 0 & x<1 \\\\ x, & x\\ge1 \\end{cases}` for `\\begin{cases} x & x\\ge1\\\\ 0 &\\text{else}\\end{cases}`.
    Wrong: `\\begin{cases} x & x>1 \\\\ 0 & x\\le1\\end{cases}` for `\\begin{cases} x & x\\ge1\\\\ 0 &\\text{else}\\end{cases}`.
    """
    if gold.cases is None and answer.cases is None:
        return None
    return same_cases(gold.cases or [], answer.cases or [], same)


def matrix(gold: Reading, answer: Reading) -> bool | None:
    """A matrix, or a column that one of the two writes as a tuple.

    Right: `(1, 2)` for `\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}`.
    Wrong: `\\begin{bmatrix} 1 & 2 \\end{bmatrix}` for `\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}`.
    """
    if gold.matrix is None and answer.matrix is None:
        return None
    ours, theirs = gold.matrix or gold.column, answer.matrix or answer.column
    if ours is None or theirs is None or [len(row) for row in ours] != [len(row) for row in theirs]:
        return False
    pairs = [pair for rows in zip(ours, theirs, strict=True) for pair in zip(*rows, strict=True)]
    return all(equal_expressions(one, other) for one, other in pairs)


def interval(gold: Reading, answer: Reading) -> bool | None:
    """A set of real numbers, as intervals, inequalities on one unknown, set-builders, or what is left without some of them.

    Right: `x\\ge 2` for `[2,\\infty)`. Right: `\\mathbb{R}\\setminus\\{0\\}` for `x\\ne0`.
    Wrong: `(2,\\infty)` for `[2,\\infty)`.
    """
    ours, theirs = gold.real_set, answer.real_set
    if ours is not None and theirs is not None:
        return None if ours.ambiguous and theirs.ambiguous else same_sets(ours, theirs)
    return True if _same_letter_intervals(gold.text, answer.text) else None


def _same_letter_intervals(gold: str, answer: str) -> bool:
    """Whether two texts are one interval whose bounds hold letters, such as `[a, \\infty)` and `[a, +\\infty)`."""
    found = [re.fullmatch(r"([(\[])(.*)([)\]])", text, re.DOTALL) for text in (gold, answer)]
    if found[0] is None or found[1] is None or found[0].group(1, 3) != found[1].group(1, 3):
        return False
    ours, theirs = (split_top_level(match[2]) for match in found if match is not None)
    if len(ours) != 2 or len(theirs) != 2 or found[0].group(1, 3) == ("(", ")"):  # `(a, b)` may be a point
        return False
    try:
        pairs = zip(ours, theirs, strict=True)
        return all(same(read(one.lstrip(" +")), read(other.lstrip(" +"))) for one, other in pairs)
    except ParseError:
        return False


def family(gold: Reading, answer: Reading) -> bool | None:
    """A set with a member for every integer.

    Right: `\\{6n\\pm1 : n\\in\\mathbb{Z}\\}` for `6k+1, 6k+5\\ (k\\in\\mathbb{Z})`.
    Wrong: `3k, k\\in\\mathbb{N}` for `3k, k\\in\\mathbb{Z}`.
    """
    ours, theirs = (
        gold.family or (answer.family and gold.unnamed_family),
        answer.family or (gold.family and answer.unnamed_family),
    )
    return same_families(ours, theirs) if ours is not None and theirs is not None else None


def tuple_(gold: Reading, answer: Reading) -> bool | None:
    """A tuple, a point, or a tuple with a name.

    Right: `(x,y)=(3,1)` for `(3,1)`. Right: `P(0.5,1)` for `(\\frac12,1)`. Wrong: `(1,3)` for `(3,1)`.
    """
    named = [each.places if each.components is None else [] for each in (gold, answer)]
    names, their_names = ([part.name for part in parts] for parts in named)
    by_name = None not in names and {*names} == {*their_names} and len({*names}) == len(names) == len(their_names)
    if names and by_name:
        return all(map(same, named[0], (named[1][their_names.index(name)] for name in names)))  # (y,x)=(1,3)
    ours, theirs = gold.components, answer.components
    if (ours is None) != (theirs is None):
        ours, theirs = ours or gold.point, theirs or answer.point
    if ours is None and theirs is None:
        return None
    if ours is not None and theirs is not None:
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if ours is None and gold.value is not None:
        return same(gold.value, answer)
    if theirs is None and answer.value is not None:
        return same(gold, answer.value)
    if theirs is None and _is_sum_of_unit_vectors(answer.text):
        return tuple_(gold, _coordinates(answer, len(ours or [])))
    if ours is None and _is_sum_of_unit_vectors(gold.text):
        return tuple_(_coordinates(gold, len(theirs or [])), answer)
    spellings = ours or []
    if len({each.compact for each in spellings}) == len(spellings) > 1 and all(
        same(spellings[0], each) for each in spellings
    ):
        return same(spellings[0], answer)  # one answer, written in several ways
    return False


def _is_sum_of_unit_vectors(text: str) -> bool:
    return '"unit i"' in text or '"unit j"' in text


def _coordinates(vector: Reading, count: int) -> Reading:
    """`2 i - j` with bold letters as the tuple (2, -1)."""
    parts = []
    for letter in "ijk"[:count]:
        units = {f'"unit {each}"': "(1)" if each == letter else "(0)" for each in "ijk"}
        text = vector.text
        for unit, value in units.items():
            text = text.replace(unit, value)
        parts.append(text)
    return read(f"({','.join(parts)})")


def assignment(gold: Reading, answer: Reading) -> bool | None:
    """A value with a name. The name is no part of the answer, but y = 2x is one line and x = 2y another.

    Right: `x=5` for `5`. Right: `f(t)=t^2` for `f(x)=x^2`. Wrong: `x=6` for `x=5`.
    """
    one, other = len(gold.parts) == 1, len(answer.parts) == 1
    if one and other:
        return None
    if one:
        value = answer.value_of_sum
        return same(gold, value) if value is not None else False
    if other:
        return same(gold.value, answer) if gold.value is not None else False
    curves = is_curve(gold.parts), is_curve(answer.parts)
    if gold.value is None or answer.value is None or all(curves):
        return None
    equal = same(gold.value, answer.value)
    if not equal and any(curves):
        return None  # y = 1/x as xy = 1
    points = [re.fullmatch(r"[^()]*(\([^=]*\d[^=]*\))", each.parts[0].strip()) for each in (gold, answer)]
    if points[0] is not None and points[1] is not None and not same(read(points[0][1]), read(points[1][1])):
        return False  # f(1) = 0 is not f(2) = 0
    return equal or same_functions(gold.parts, answer.parts)


def relation(gold: Reading, answer: Reading) -> bool | None:
    """An equation, an inequality, or a chain of them, with the same solutions.

    Right: `2x+y-5=0` for `y=-2x+5`. Right: `c<a<b` for `b>a>c`. Wrong: `x+2y<1` for `x+2y\\le1`.
    """
    if len(gold.parts) == 1 or len(answer.parts) == 1:
        return None
    return compare_relations(gold.text, answer.text, gold.parts, answer.parts).correct


def words(gold: Reading, answer: Reading) -> bool | None:
    """Words, whatever their case and articles.

    Wrong: `\\text{not }3` for `3`. Wrong: `\\text{east}` for `\\text{west}`.
    """
    core = read(gold.core)
    if core.is_words:
        return same_phrase(gold.text, answer.text)
    try:
        node = gold.node
    except ParseError:
        if '"' in gold.core and same_phrase(gold.core, answer.core):
            return True
        raise
    if node.kind == "symbol" and '"' in gold.core:
        return same_phrase(gold.text, answer.text)
    if any('"' in name for name in symbols(node) ^ symbols(answer.node)):
        return False  # "not 3" is no product
    return None


def unit(gold: Reading, answer: Reading) -> bool | None:
    """Two quantities whose units measure different things, and radians for degrees.

    Wrong: `3\\text{ cm}^3` for `3\\text{ cm}^2`. Wrong: `45\\text{ radians}` for `45^\\circ`.
    """
    if gold.unit and answer.unit and ratio_of_units(answer.unit, gold.unit) is None:
        return False
    in_degrees = has(gold.node, "degree") or has(answer.node, "degree")
    if in_degrees and {gold.unit, answer.unit} == {"rad^1", ""}:
        return equal_expressions(in_radians(gold.node), in_radians(answer.node))
    return None


def value(gold: Reading, answer: Reading) -> bool | None:
    """A number or an expression, in any form that is equal. A unit that only one of the two has is ignored.

    Right: `\\frac12` for `0.5`. Right: `(x+1)^2` for `x^2+2x+1`. Wrong: `0.333` for `\\frac13`.
    Right: `150\\text{ cm}` for `1.5\\text{ m}`.
    """
    theirs = answer.node
    ratio = ratio_of_units(answer.unit, gold.unit) if gold.unit and answer.unit else None
    if ratio is not None and ratio != 1:
        theirs = Node("product", (theirs, Node("number", value=ratio)))
    if equal_expressions(gold.node, theirs):
        return True
    if bool(gold.unit) != bool(answer.unit):
        try:
            return equal_expressions(gold.with_letters, answer.with_letters)
        except ParseError:
            pass
    return False


# In this order. Those before the remark is cut are of types that may hold words of their own.
RULES: list[Rule] = [same_text, piecewise, matrix, interval, family, tuple_]
RULES_OF_BARE: list[Rule] = [assignment, relation, words, unit, value]


def compare_one(gold: Reading, answer: Reading) -> Judgement:
    """Compares one answer with one reference; raises `ParseError` if a text cannot be parsed."""
    for rule in RULES:
        if (verdict := rule(gold, answer)) is not None:
            return Judgement(verdict, rule.__name__.strip("_"))
    gold, answer = gold.bare, answer.bare
    for rule in RULES_OF_BARE:
        if (verdict := rule(gold, answer)) is not None:
            return Judgement(verdict, rule.__name__)
    raise AssertionError("the last rule decides")


def same(gold: Reading, answer: Reading) -> bool:
    return compare_one(gold, answer).correct
