"""Are several answers right? Alternatives are compared in any order, and blanks by their name or place."""

import re

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.families import same_progressions
from circuitseer_trl.grading.nodes import Node, rename, symbols
from circuitseer_trl.grading.phrases import roman_numbers
from circuitseer_trl.grading.relations import Judgement, assigned, chain_of, name_of
from circuitseer_trl.grading.single import compact, compare_one, compare_sets, same, tuple_parts, without_remark
from circuitseer_trl.grading.structure import expand_signs, relation_parts, split_top_level, strip_brackets
from circuitseer_trl.grading.tokens import ParseError

_LABEL = re.compile(r"^(\d)\s*(?:[=:)]|\.(?!\d))\s*|^\(\s*(\d)\s*\)\s*[=:.]?\s*")
_EXCLUSION = re.compile(r"(?<=\S)\s*[,;(]\s*([A-Za-z])\s*\\ne\s*[^,()]{1,20}\)?$")
_MAX_ITEMS = 200


def compare_lists(gold: str, answer: str) -> Judgement:
    """Compares several answers, or one. A set in braces is also a list."""
    verdict = compare_sets(gold, answer)
    if verdict is not None:
        return verdict
    gold, answer = without_remark(gold), without_remark(answer)
    if r"\ne" not in gold and (condition := _EXCLUSION.search(answer)) and condition[1] in gold:
        answer = answer[: condition.start()].strip()  # 1/x, x \ne 0
    ours, theirs = list_items(gold), list_items(answer)
    if len(ours) > _MAX_ITEMS or len(theirs) > _MAX_ITEMS:
        return Judgement(False, "too_many")
    if len(ours) == 1 and len(theirs) > 1 and (chain := chain_of(theirs)) is not None:
        theirs = [chain]
    if len(ours) == 1 and len(theirs) == 1:
        return compare_one(ours[0], theirs[0])
    if _is_set(gold) and _is_set(answer):
        ours, theirs = _distinct(ours), _distinct(theirs)
    choices = [theirs]
    if len(re.findall(r"\\pm", answer)) > 1:
        choices.append(list_items(answer, together=False))
    verdicts = [_compare_items(gold, answer, ours, items) for items in choices if len(items) <= _MAX_ITEMS]
    return next((verdict for verdict in verdicts if verdict.correct), verdicts[0])


def list_items(text: str, *, together: bool = True) -> list[str]:
    """The parts of a list or of a set in braces, with every plus-minus written out."""
    inner = strip_brackets(text, r"\{", r"\}")
    if inner is None:
        inner = strip_brackets(text, "{", "}")
    if inner is None and len(split_top_level(text)) == 1 and (value := assigned(text)) is not None:
        inner = strip_brackets(value, r"\{", r"\}")
    if inner is not None and not re.search(r"[|:]", inner) and inner and inner != r"\emptyset":
        text = inner
    parts = roman_numbers(_without_domain(split_top_level(text)))
    return [each for part in parts for each in expand_signs(part, together=together)]


def _is_set(text: str) -> bool:
    value = (assigned(text) if len(split_top_level(text)) == 1 else None) or text
    return strip_brackets(value, r"\{", r"\}") is not None or strip_brackets(value, "{", "}") is not None


def _distinct(items: list[str]) -> list[str]:
    kept: list[str] = []
    for item in items:
        if not any(same(each, item) for each in kept):
            kept.append(item)
    return kept


def _without_domain(parts: list[str]) -> list[str]:
    """Parts without a closing "where C is any constant" or `k \\in Z`."""
    kept = list(parts)
    domain = r"\\in\s*(?:\\?[RZNQ]|\{\s*[RZNQ]\s*\})(?:[_^]\S+)?"
    remark = re.compile(rf'(?:"where[^"]*")?.*(?:{domain}|"[^"]*(?:constant|integer|常数|整数)[^"]*")\s*')
    if len(kept) > 1 and len(kept[-1]) < 500 and remark.fullmatch(kept[-1]):
        kept.pop()
        while len(kept) > 1 and re.fullmatch(r"[A-Za-z](?:_\S+)?", kept[-1]):
            kept.pop()
    return kept


def _compare_items(gold: str, answer: str, ours: list[str], theirs: list[str]) -> Judgement:
    if len(ours) != len(theirs):
        fewer = _spelled_once(ours)
        if len(fewer) < len(ours) and len(theirs) == len(fewer):
            return _in_any_order(fewer, theirs)
        if len(_spelled_once(theirs)) == len(ours) < len(theirs):
            return _in_any_order(ours, _spelled_once(theirs))
        return _compare_with_tuple(gold, answer, ours, theirs)
    labels = [_LABEL.match(item) for item in ours]
    if (
        len(ours) > 1
        and all(label and label[0] for label in labels)
        and [label[1] or label[2] for label in labels if label] == [str(n + 1) for n in range(len(ours))]
    ):
        # Numbered blanks: 1 = ..., 2 = ...
        return Judgement(
            all(map(same, *([_LABEL.sub("", item) for item in items] for items in (ours, theirs)))), "numbered"
        )
    names, their_names = [name_of(item) for item in ours], [name_of(item) for item in theirs]
    known = [name for name in names if name is not None]
    if len(known) == len(names) == len(set(names)) and sorted(known) == sorted(map(str, their_names)):
        by_name = dict(zip(their_names, theirs, strict=True))
        return Judgement(all(same(item, by_name[name]) for name, item in zip(names, ours, strict=True)), "named_list")
    if len(known) == len(names) == len({name[:1] for name in known}) and not any(their_names):
        return Judgement(all(map(same, ours, theirs)), "named_list")  # a = 4, b = 1 as 4, 1
    return _in_any_order(ours, theirs)


def _in_any_order(ours: list[str], theirs: list[str]) -> Judgement:
    remaining = list(theirs)
    for item in ours:
        found = next((other for other in remaining if same(item, other)), None)
        if found is None:
            found = next((other for other in remaining if _same_progression(item, other)), None)
        if found is None:
            return Judgement(False, "list")
        remaining.remove(found)
    return Judgement(True, "list")


def _same_progression(gold: str, answer: str) -> bool:
    """Whether `pi/6 + k pi` and `7pi/6 + n pi` are one family, with the integer unnamed on both sides."""
    if r"\pi" not in gold or r"\pi" not in answer:
        return False
    try:
        one, other = (parse_expression(assigned(text) or text) for text in (gold, answer))
    except ParseError:
        return False
    if len(symbols(one)) != 1 or len(symbols(other)) != 1:
        return False
    (dummy,), (their_dummy,) = symbols(one), symbols(other)
    if not {dummy, their_dummy} <= {"k", "n", "m", "l"}:
        return False
    return same_progressions(one, rename(other, their_dummy, Node("symbol", name=dummy)), dummy)


def _spelled_once(items: list[str]) -> list[str]:
    """Items without those that are another spelling of one before them: 57.5, 115/2. Equal spellings are two items."""
    kept: list[str] = []
    for item in items:
        if not any(
            compact(item) != compact(each) and name_of(item) == name_of(each) and same(item, each) for each in kept
        ):
            kept.append(item)
    return kept


def _compare_with_tuple(gold: str, answer: str, ours: list[str], theirs: list[str]) -> Judgement:
    """A list in the reference written as a tuple by the answer, or the other way round: the order then counts."""
    if r"\or" in gold or 1 not in (len(ours), len(theirs)):
        return _compare_pairs(ours, theirs)
    parts, their_parts = (
        tuple_parts(items[0], point=True) or tuple_parts(assigned(items[0]) or "") or [] if len(items) == 1 else items
        for items in (ours, theirs)
    )
    if len(parts) != len(their_parts) or len(parts) < 2 or _is_set(gold) or _is_set(answer):
        return Judgement(False, "list_length")
    names = [relation_parts(part)[0] if assigned(part) is not None else "" for part in their_parts]
    if all(names) and len(set(names)) == len(names):  # y = 1, x = 3 for (3, 1)
        their_parts = [part for _, part in sorted(zip(names, their_parts, strict=True))]
    return Judgement(all(map(same, parts, their_parts)), "tuple")


def _compare_pairs(ours: list[str], theirs: list[str]) -> Judgement:
    """Solutions written out as `p = 5, q = 2, p = 7, q = 2` for `(5, 2), (7, 2)`, and the other way round."""
    for named, plain in ((ours, theirs), (theirs, ours)):
        names = [name_of(item) for item in named]
        width = next((n for n, name in enumerate(names) if n and name == names[0]), 0)
        if None in names or not width or len(named) != width * len(plain) or names != names[:width] * len(plain):
            continue
        values = [assigned(item) or "" for item in named]
        grouped = [f"({','.join(values[start : start + width])})" for start in range(0, len(values), width)]
        return _in_any_order(*((grouped, plain) if named is ours else (plain, grouped)))
    return Judgement(False, "list_length")
