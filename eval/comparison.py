"""Whether an answer means what the reference means: the rules, by the type of the reference.

Runs inside the grading processes only. Rules are about mathematics; where they do not understand one of the two texts,
Math-Verify decides on the normalised pair (`eval.symbolic`).
"""

import re
from dataclasses import dataclass

from eval.choices import compare_choice, gold_letters, gold_option, options_in
from eval.expressions import (
    Node,
    ParseError,
    TooCostlyError,
    equal_expressions,
    number,
    parse_expression,
    proportional,
    symbols,
)
from eval.intervals import IntervalSet, parse_interval_set, same_intervals
from eval.normalization import normalize
from eval.structure import expand_signs, matrix_cells, relation_parts, split_top_level, strip_brackets
from eval.symbolic import math_verify_equal
from eval.units import split_unit

MAX_CHARACTERS = 4000
_PERCENT_QUESTION = re.compile(r"percent|%|百分", re.IGNORECASE)
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne", r"\in": r"\in"}


@dataclass(frozen=True)
class Comparison:
    """A verdict, and the name of the rule that gave it."""

    correct: bool
    reason: str


def compare(gold: str, answer: str, choices: dict[str, str] | None = None, question: str | None = None) -> Comparison:
    """Compares one answer with one reference.

    Args:
        gold (`str`): Reference; an empty one can never be met.
        answer (`str`): What the box held.
        choices (`dict[str, str]`, *optional*): Option texts by letter, where the reference is a letter.
        question (`str`, *optional*): The problem, for what it says about options and percentages.
    """
    if not gold.strip():
        return Comparison(False, "empty_gold")
    if len(gold) > MAX_CHARACTERS or len(answer) > MAX_CHARACTERS:
        return Comparison(gold.strip() == answer.strip(), "too_long")
    gold_text, answer_text = normalize(gold), normalize(answer)
    if not gold_text:
        return Comparison(False, "empty_gold")
    if not answer_text:
        return Comparison(False, "no_answer")
    letters = gold_letters(gold)
    if letters:
        options = dict(choices or {}) or (options_in(question) if question else {})
        if len(letters) == 1 and (text := gold_option(gold)):
            options |= dict.fromkeys(letters, text)
        same = compare_choice(letters, answer, options, lambda one, other: compare(one, other).correct)
        return Comparison(same, "choice")
    if _compact(gold_text) == _compact(answer_text):
        return Comparison(True, "same_text")
    try:
        special = _compare_special(gold_text, answer_text)
    except ParseError:
        special = None
    if special is not None:
        return special
    if gold_text.count("%") != answer_text.count("%") and question and _PERCENT_QUESTION.search(question):
        gold_text, answer_text = gold_text.replace("%", ""), answer_text.replace("%", "")
    answer_text = (
        re.sub(r'^"(?:the )?(?:final )?answer(?: is)?:?"\s*', "", answer_text, flags=re.IGNORECASE) or answer_text
    )
    try:
        return _compare_lists(gold_text, answer_text)
    except TooCostlyError:
        return Comparison(False, "too_costly")
    except ParseError:
        if '"' in gold_text and not re.search(r"\d", gold_text):
            return Comparison(_words(gold_text) == _words(answer_text), "text")
        return Comparison(math_verify_equal(gold_text, answer_text), "math_verify")


def _compare_special(gold: str, answer: str) -> Comparison | None:
    """References that look like expressions and are none: times, numbered statements, ratios, set-builders."""
    times = [re.sub(r'[\s".]', "", text).casefold() for text in (gold, answer)]
    if re.fullmatch(r"\d{1,2}:\d\d[ap]m", times[0]):
        return Comparison(times[0] == times[1], "time")
    if re.fullmatch(r"(?:\(\d\)\s*){2,}", gold):
        only_numbers = re.fullmatch(r"(?:[\s,(]|\\and)*\d(?:[\s,()]|\\and|(?<=[\s,()d])\d)*", answer)
        return Comparison(
            bool(only_numbers) and set(re.findall(r"\d", gold)) == set(re.findall(r"\d", answer)), "statements"
        )
    ratios = [[parse_expression(part) for part in text.split(":")] for text in (gold, answer) if text.count(":") > 1]
    if len(ratios) == 2 and len(ratios[0]) == len(ratios[1]):
        (first, *others), (their_first, *theirs) = ratios
        pairs = zip(others, theirs, strict=True)
        crossed = ((Node("product", (a, their_first)), Node("product", (b, first))) for a, b in pairs)
        return Comparison(all(equal_expressions(one, other) for one, other in crossed), "ratio")
    builders = [_set_builder(text) for text in (gold, answer)]
    if any(builders) and None in (parse_interval_set(gold), parse_interval_set(answer)):
        # Their conditions are compared as they are written: Math-Verify reads {x | x = 3k} as 3.
        return Comparison(builders[0] == builders[1], "set_builder")
    return None


def _set_builder(text: str) -> str | None:
    """A set-builder without spaces, `{x | x = 3k, k in Z}` as `{3k | k in Z}`; `None` for anything else."""
    inner = strip_brackets(text, r"\{", r"\}")
    if inner is None or not re.search(r"[|:]", inner):
        return None
    return re.sub(r"^([A-Za-z])[|:]\1=(.+?),(.*)$", r"\2|\3", re.sub(r"\s+", "", inner))


def _compact(text: str) -> str:
    return re.sub(r"\s+", "", text).replace("{", "").replace("}", "") if "\\" not in text else re.sub(r"\s+", " ", text)


def _words(text: str) -> str:
    """Letters and digits of a text without the words that change nothing."""
    text = re.sub(r"\b(?:an?|the|condition|answer is)\b", " ", text.casefold())
    return re.sub(r"[^a-z0-9\u3400-\u9fff]", "", text)


def _compare_lists(gold: str, answer: str) -> Comparison:
    """Several answers, in any order; a set in braces is such a list too."""
    ours, theirs = parse_interval_set(gold), parse_interval_set(answer)
    if ours is not None and theirs is not None and not (ours.ambiguous and theirs.ambiguous):
        return Comparison(same_intervals(ours, theirs), "interval")
    gold_items, answer_items = _items(gold), _items(answer)
    if len(gold_items) == 1 and len(answer_items) == 1:
        return _compare_one(gold_items[0], answer_items[0])
    if r"\and" in gold and len(answer_items) == 1 and all(_same(gold_items[0], item) for item in gold_items[1:]):
        return _compare_one(gold_items[0], answer_items[0])  # one answer, given in two forms
    if len(gold_items) != len(answer_items):
        bracketed = strip_brackets(answer if len(answer_items) == 1 else gold, "(", ")")
        if bracketed is not None and 1 in (len(gold_items), len(answer_items)):
            # A list in the gold written as a tuple by the answer, or the other way round: the order then counts.
            our_parts, their_parts = (
                split_top_level(strip_brackets(gold, "(", ")") or gold),
                split_top_level(strip_brackets(answer, "(", ")") or answer),
            )
            if len(our_parts) == len(their_parts) > 1:
                return Comparison(all(map(_same, our_parts, their_parts)), "tuple")
        return Comparison(False, "list_length")
    gold_names, answer_names = ([_name_of(item) for item in items] for items in (gold_items, answer_items))
    if (
        None not in gold_names
        and len(set(gold_names)) > 1
        and sorted(map(str, gold_names)) == sorted(map(str, answer_names))
    ):
        by_name = dict(zip(answer_names, answer_items, strict=True))
        same = all(_same(item, by_name[name]) for name, item in zip(gold_names, gold_items, strict=True))
        return Comparison(same, "named_list")
    remaining = list(answer_items)
    for item in gold_items:
        found = next((other for other in remaining if _compare_one(item, other).correct), None)
        if found is None:
            return Comparison(False, "list")
        remaining.remove(found)
    return Comparison(True, "list")


def _items(text: str) -> list[str]:
    """The parts of a list or of a set in braces, with every plus-minus written out."""
    inner = strip_brackets(text, r"\{", r"\}")
    if inner is None:
        inner = strip_brackets(text, "{", "}")
    assigned = re.fullmatch(r"[A-Za-z]\s*(?:=|\\in)\s*(\\\{.*\\\})", text)
    if inner is None and assigned:
        inner = strip_brackets(assigned[1], r"\{", r"\}")
    if inner is not None and not re.search(r"[|:]", inner):
        text = inner
    return [each for part in _without_remarks(split_top_level(text)) for each in expand_signs(part)]


def _without_remarks(parts: list[str]) -> list[str]:
    """Parts without a closing "where C is any constant" or `k \\in Z`."""
    kept = list(parts)
    domain = r"\\in\s*(?:\\?[RZNQ]|\{\s*[RZNQ]\s*\})(?:[_^]\S+)?"
    remark = rf'(?:"where[^"]*")?.*(?:{domain}|"[^"]*(?:constant|integer|常数|整数)[^"]*")\s*'
    if len(kept) > 1 and re.fullmatch(remark, kept[-1]):
        kept.pop()
        while len(kept) > 1 and re.fullmatch(r"[A-Za-z](?:_\S+)?", kept[-1]):
            kept.pop()
    return kept


def _compare_one(gold: str, answer: str) -> Comparison:
    if _compact(gold) == _compact(answer):
        return Comparison(True, "same_text")
    cells = matrix_cells(gold), matrix_cells(answer)
    if cells[0] is not None or cells[1] is not None:
        return _compare_matrices(*cells)
    ours, theirs = parse_interval_set(gold), parse_interval_set(answer)
    if ours is not None and theirs is not None and not (ours.ambiguous and theirs.ambiguous):
        return Comparison(same_intervals(ours, theirs), "interval")
    gold_tuple, answer_tuple = _tuple(gold), _tuple(answer)
    if gold_tuple is not None or answer_tuple is not None:
        if gold_tuple is None or answer_tuple is None:
            # D = (0, 1): a name before a tuple says nothing.
            if gold_tuple is None and (value := _assigned(gold)) is not None:
                return _compare_one(value, answer)
            if answer_tuple is None and (value := _assigned(answer)) is not None:
                return _compare_one(gold, value)
            return Comparison(False, "tuple")
        same = len(gold_tuple) == len(answer_tuple) and all(
            _compare_one(a, b).correct for a, b in zip(gold_tuple, answer_tuple, strict=True)
        )
        return Comparison(same, "tuple")
    gold_relation, answer_relation = relation_parts(gold), relation_parts(answer)
    if len(gold_relation) > 1 or len(answer_relation) > 1:
        return _compare_relations(gold, answer, gold_relation, answer_relation, ours, theirs)
    return _compare_values(gold, answer)


def _name_of(text: str) -> str | None:
    """What stands left of an assignment, or `None`."""
    return _compact(relation_parts(text)[0]) if _assigned(text) is not None else None


def _same(one: str, other: str) -> bool:
    return _compare_one(one, other).correct


def _tuple(text: str) -> list[str] | None:
    inner = strip_brackets(text, "(", ")")
    if inner is None:
        return None
    parts = split_top_level(inner)
    return parts if len(parts) > 1 else None


def _assigned(text: str) -> str | None:
    """The value in `x = 5`, `f(x) = 5`, `S : T = 5` or `x \\in A`: what is left of it is only a name."""
    parts = relation_parts(text)
    if len(parts) < 3 or any(part not in ("=", r"\in", r"\approx") for part in parts[1::2]):
        return None
    if parts[-2] == r"\approx" and not (len(parts) == 3 and _is_name(parts[0])):
        return parts[-3]  # what follows is only near
    if _is_name(parts[0]):
        return parts[-1]
    if set(parts[1::2]) == {"="} and all(_compare_values(parts[0], part).correct for part in parts[2::2]):
        return parts[-1]  # 2 + 3 = 5
    return None


def _is_name(text: str) -> bool:
    script = r"(?:\s*_\s*(?:\{[^{}]*\}|\S)|\s*\^\s*\{?\s*[*']+\s*\}?|')*"
    single = (
        rf"(?:\\?[A-Za-z]+|\"[^\"]*\"|\\angle\s*[A-Z ]+|\\hat\s*\w|\\triangle\s*[A-Z ]+){script}(?:\s*\([^()=\d]*\))?"
    )
    names = rf"(?:{single}\s*)+(?::\s*(?:{single}\s*)+)?"
    return bool(re.fullmatch(rf"{names}|\(\s*{names}(?:,\s*{names})*\)", text.strip()))


def _compare_relations(
    gold: str,
    answer: str,
    gold_parts: list[str],
    answer_parts: list[str],
    gold_set: IntervalSet | None,
    answer_set: IntervalSet | None,
) -> Comparison:
    gold_value, answer_value = _assigned(gold), _assigned(answer)
    if len(gold_parts) == 1:
        return _compare_one(gold, answer_value) if answer_value is not None else Comparison(False, "relation")
    if len(answer_parts) == 1:
        return _compare_one(gold_value, answer) if gold_value is not None else Comparison(False, "relation")
    if gold_value is not None and answer_value is not None and not _is_curve(gold_parts):
        # Another name for the same function is no other answer, but y = 2x and x = 2y are two lines.
        return _compare_one(gold_value, answer_value)
    relations, others = gold_parts[1::2], answer_parts[1::2]
    if len(relations) == len(others) == 1:
        ours, theirs = (_difference(parts) for parts in (gold_parts, answer_parts))
        if relations == others == ["="]:
            if proportional(ours, theirs):
                return Comparison(True, "equation")
            if symbols(ours) == symbols(theirs) and len(symbols(ours)) > 1:
                return Comparison(math_verify_equal(gold, answer), "equation_math_verify")
            return Comparison(False, "equation")
        if relations == others:
            return Comparison(proportional(ours, theirs, positive=True), "inequality")
        if relations == [_FLIPPED.get(others[0])]:
            return Comparison(proportional(ours, Node("product", (number(-1), theirs)), positive=True), "inequality")
        return Comparison(False, "inequality")
    if len(relations) != len(others):
        return Comparison(False, "relation")
    flipped = [_FLIPPED.get(each, each) for each in reversed(others)]
    for operators, values in ((others, answer_parts[::2]), (flipped, answer_parts[::2][::-1])):
        if operators == relations:
            pairs = list(zip(gold_parts[::2], values, strict=True))
            if all(_compare_values(a, b).correct for a, b in pairs):
                return Comparison(True, "chain")
    return Comparison(False, "chain")


def _is_curve(parts: list[str]) -> bool:
    """Whether an equation is one of coordinates: `y = 2x`, but not `a = 5` or `f(x) = 2x`."""
    return (
        len(parts) == 3
        and parts[0].strip() in ("x", "y", "z")
        and bool(re.search(r"(?<![\\A-Za-z])[xyz](?![A-Za-z])", parts[2]))
    )


def _difference(parts: list[str]) -> Node:
    left, right = (parse_expression(split_unit(part)[0]) for part in (parts[0], parts[2]))
    return Node("sum", (left, Node("product", (number(-1), right))))


def _compare_matrices(gold: list[list[Node]] | None, answer: list[list[Node]] | None) -> Comparison:
    if gold is None or answer is None or [len(row) for row in gold] != [len(row) for row in answer]:
        return Comparison(False, "matrix")
    pairs = [pair for rows in zip(gold, answer, strict=True) for pair in zip(*rows, strict=True)]
    return Comparison(all(equal_expressions(one, other) for one, other in pairs), "matrix")


def _compare_values(gold: str, answer: str) -> Comparison:
    """Two single values, with or without a unit; a unit that only one of them has says nothing."""
    gold_core, gold_unit = split_unit(gold)
    answer_core, answer_unit = split_unit(answer)
    if gold_unit and answer_unit and gold_unit != answer_unit:
        return Comparison(False, "unit")
    if '"' in gold_core and not re.search(r"\d", gold_core):
        return Comparison(_words(gold) == _words(answer), "text")
    try:
        ours = parse_expression(gold_core)
    except ParseError:
        if re.sub(r"\W", "", gold_core) and _words(gold_core) == _words(answer_core) and '"' in gold_core:
            return Comparison(True, "text")
        raise
    if ours.kind == "symbol" and '"' in gold_core:
        return Comparison(_words(gold) == _words(answer), "text")
    return Comparison(equal_expressions(ours, parse_expression(answer_core)), "value")
