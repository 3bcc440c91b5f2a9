"""Is one answer equal to one reference? By the kind of the two: matrices, sets, tuples, relations, values, words."""

import re

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.families import parse_family, same_families
from circuitseer_trl.grading.nodes import Node, symbols
from circuitseer_trl.grading.phrases import same_phrase
from circuitseer_trl.grading.real_sets import parse_real_set, same_sets
from circuitseer_trl.grading.relations import Judgement, assigned, compare_relations, is_curve, same_functions
from circuitseer_trl.grading.structure import case_rows, matrix_cells, relation_parts, split_top_level, strip_brackets
from circuitseer_trl.grading.tokens import ParseError
from circuitseer_trl.grading.units import ratio_of_units, split_unit
from circuitseer_trl.grading.values import equal_expressions

_REMARK = re.compile(
    r'(?<=\S)\s*[,;]?\s*"(?:for (?:all|any|every|each)|for|where|其中|with)\b(?:[^"]*)".*$'
    r'|(?<=\S)\s*\(?\s*"\(?\s*(?:since|because|by)\b[^"]*".*$',
    re.DOTALL,
)


def compact(text: str) -> str:
    """The text without what spacing alone can change."""
    if "\\" not in text:
        return re.sub(r"[\s{}]+", "", text)
    return re.sub(r"\s+", "", re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])", r"\1~", text))


def without_remark(text: str) -> str:
    """The text without a closing "for all x" or "where n is an integer"."""
    return _REMARK.sub("", text).strip() or text


def same(gold: str, answer: str) -> bool:
    return compare_one(gold, answer).correct


def compare_sets(gold: str, answer: str) -> Judgement | None:
    """Compares two sets of reals or families of values; returns None if one of the texts is neither."""
    ours, theirs = parse_real_set(gold), parse_real_set(answer)
    if ours is not None and theirs is not None:
        return None if ours.ambiguous and theirs.ambiguous else Judgement(same_sets(ours, theirs), "interval")
    if _same_letter_intervals(gold, answer):
        return Judgement(True, "interval")
    families = parse_family(gold), parse_family(answer)
    if families[0] is not None and families[1] is not None:
        return Judgement(same_families(*families), "family")  # type: ignore[arg-type]
    return None


def _same_letter_intervals(gold: str, answer: str) -> bool:
    """Whether two texts are one interval whose bounds hold letters, such as `[a, \\infty)` and `[a, +\\infty)`."""
    found = [re.fullmatch(r"([(\[])(.*)([)\]])", text.strip(), re.DOTALL) for text in (gold, answer)]
    if found[0] is None or found[1] is None or found[0].group(1, 3) != found[1].group(1, 3):
        return False
    ours, theirs = (split_top_level(match[2]) for match in found if match is not None)
    if len(ours) != 2 or len(theirs) != 2 or found[0].group(1, 3) == ("(", ")"):  # `(a, b)` may be a point
        return False
    try:
        return all(same(one.lstrip(" +"), other.lstrip(" +")) for one, other in zip(ours, theirs, strict=True))
    except ParseError:
        return False


def compare_one(gold: str, answer: str) -> Judgement:
    """Compares one answer with one reference; raises `ParseError` if a text cannot be parsed."""
    if compact(gold) == compact(answer):
        return Judgement(True, "same_text")
    pieces = case_rows(gold), case_rows(answer)
    if pieces[0] is not None or pieces[1] is not None:
        return Judgement(_same_cases(*pieces), "cases")
    cells = matrix_cells(gold), matrix_cells(answer)
    if cells[0] is not None or cells[1] is not None:
        return _compare_matrices(*(each or _vector(text) for each, text in zip(cells, (gold, answer), strict=True)))
    verdict = compare_sets(gold, answer)
    if verdict is not None:
        return verdict
    gold_tuple, answer_tuple = tuple_parts(gold), tuple_parts(answer)
    if (gold_tuple is None) != (answer_tuple is None):
        gold_tuple, answer_tuple = (
            gold_tuple or tuple_parts(gold, point=True),
            answer_tuple or tuple_parts(answer, point=True),
        )
    if gold_tuple is not None or answer_tuple is not None:
        return _compare_tuples(gold, answer, gold_tuple, answer_tuple)
    gold, answer = without_remark(gold), without_remark(answer)
    gold_parts, answer_parts = relation_parts(gold), relation_parts(answer)
    if len(gold_parts) == 1 and len(answer_parts) == 1:
        return compare_values(gold, answer)
    gold_value, answer_value = assigned(gold), assigned(answer, sums=len(gold_parts) == 1)
    if len(gold_parts) == 1:
        return compare_one(gold, answer_value) if answer_value is not None else Judgement(False, "relation")
    if len(answer_parts) == 1:
        return compare_one(gold_value, answer) if gold_value is not None else Judgement(False, "relation")
    if gold_value is not None and answer_value is not None and not (is_curve(gold_parts) and is_curve(answer_parts)):
        # Another name for the same function is no other answer, but y = 2x and x = 2y are two lines.
        verdict = compare_one(gold_value, answer_value)
        if not verdict.correct and (is_curve(gold_parts) or is_curve(answer_parts)):
            return compare_relations(gold, answer, gold_parts, answer_parts)  # y = 1/x as xy = 1
        points = [re.fullmatch(r"[^()]*(\([^=]*\d[^=]*\))", parts[0].strip()) for parts in (gold_parts, answer_parts)]
        if points[0] is not None and points[1] is not None and not same(points[0][1], points[1][1]):
            return Judgement(False, "point")  # f(1) = 0 is not f(2) = 0
        return (
            Judgement(True, "function") if not verdict.correct and same_functions(gold_parts, answer_parts) else verdict
        )
    return compare_relations(gold, answer, gold_parts, answer_parts)


def tuple_parts(text: str, *, point: bool = False) -> list[str] | None:
    """Components of `(a, b)` or of a point `P(a, b)`; None for anything else."""
    inner = strip_brackets(re.sub(r"^[A-Z](?=\s*\()", "", text.strip()) if point else text, "(", ")")
    if inner is None:
        return None
    parts = split_top_level(inner)
    return parts if len(parts) > 1 else None


def _compare_tuples(gold: str, answer: str, gold_tuple: list[str] | None, answer_tuple: list[str] | None) -> Judgement:
    if gold_tuple is None or answer_tuple is None:
        # D = (0, 1): a name before a tuple is ignored.
        if gold_tuple is None and (value := assigned(gold)) is not None:
            return compare_one(value, answer)
        if answer_tuple is None and (value := assigned(answer)) is not None:
            return compare_one(gold, value)
        spellings = gold_tuple or []
        if len(set(map(compact, spellings))) == len(spellings) > 1 and all(
            same(spellings[0], each) for each in spellings
        ):
            return compare_one(spellings[0], answer)  # one answer, written in several ways
        return Judgement(False, "tuple")
    equal = len(gold_tuple) == len(answer_tuple) and all(map(same, gold_tuple, answer_tuple))
    return Judgement(equal, "tuple")


def _same_cases(gold: list[list[str]] | None, answer: list[list[str]] | None) -> bool:
    """Whether two functions defined by cases have the same ones, in any order."""
    remaining = list(answer or [])
    for row in gold or []:
        found = next((each for each in remaining if len(each) == len(row) and all(map(same, row, each))), None)
        if found is None:
            return False
        remaining.remove(found)
    return not remaining


def _vector(text: str) -> list[list[Node]] | None:
    """A tuple as the column that it may be written as."""
    parts = tuple_parts(assigned(text) or text)
    return [[parse_expression(part)] for part in parts] if parts is not None else None


def _compare_matrices(gold: list[list[Node]] | None, answer: list[list[Node]] | None) -> Judgement:
    if gold is None or answer is None or [len(row) for row in gold] != [len(row) for row in answer]:
        return Judgement(False, "matrix")
    pairs = [pair for rows in zip(gold, answer, strict=True) for pair in zip(*rows, strict=True)]
    return Judgement(all(equal_expressions(one, other) for one, other in pairs), "matrix")


def _is_words(text: str) -> bool:
    return '"' in text and not re.search(r"\d", text)


def compare_values(gold: str, answer: str) -> Judgement:
    """Compares two single values, with or without a unit. A unit that only one of them has is ignored."""
    (gold_core, gold_unit), (answer_core, answer_unit) = split_unit(gold), split_unit(answer)
    if _is_words(gold_core):
        return Judgement(same_phrase(gold, answer), "text")
    ratio = None
    if gold_unit and answer_unit:
        ratio = ratio_of_units(answer_unit, gold_unit)
        if ratio is None:
            return Judgement(False, "unit")
    try:
        ours = parse_expression(gold_core)
    except ParseError:
        if '"' in gold_core and same_phrase(gold_core, answer_core):
            return Judgement(True, "text")
        raise
    if ours.kind == "symbol" and '"' in gold_core:
        return Judgement(same_phrase(gold, answer), "text")
    theirs = parse_expression(answer_core)
    if any('"' in name for name in symbols(ours) ^ symbols(theirs)):
        return Judgement(False, "words")  # "not 3" is no product
    if ratio is not None and ratio != 1:
        theirs = Node("product", (theirs, Node("number", value=ratio)))
    if {gold_unit, answer_unit} == {"rad", ""} and "degree" in (ours.kind, theirs.kind):
        return Judgement(False, "unit")
    if equal_expressions(ours, theirs):
        return Judgement(True, "value")
    if bool(gold_unit) != bool(answer_unit):
        # What is a unit on one side may be a factor on the other: 6m.
        letters = (re.sub(r'"([A-Za-z]+)"', r"\1", text) for text in (gold, answer))
        try:
            return Judgement(equal_expressions(*map(parse_expression, letters)), "value")
        except ParseError:
            pass
    return Judgement(False, "value")
