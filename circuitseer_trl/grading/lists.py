"""Are several answers right? Alternatives are compared in any order, and blanks by their name or place."""

import re

from circuitseer_trl.grading.asking import Asked
from circuitseer_trl.grading.blanks import by_number, in_places, name_of_blank, numbers_of, with_names
from circuitseer_trl.grading.reading import Reading, read
from circuitseer_trl.grading.relations import Judgement, chain_of
from circuitseer_trl.grading.single import compare_one, family, interval, same

_EXCLUSION = re.compile(r"(?<=\S)\s*[,;(]\s*([A-Za-z])\s*\\ne\s*[^,()]{1,20}\)?$")
_MAX_ITEMS = 200


def compare_lists(gold: Reading, answer: Reading, asked: Asked) -> Judgement:
    """Compares several answers, or one. A set in braces is also a list."""
    for rule in (interval, family):
        if (verdict := rule(gold, answer)) is not None:
            return Judgement(verdict, rule.__name__)
    gold, answer = gold.bare, answer.bare
    if r"\ne" not in gold.text and (condition := _EXCLUSION.search(answer.text)) and condition[1] in gold.text:
        answer = read(answer.text[: condition.start()])  # 1/x, x \ne 0
    ours, theirs = gold.items, answer.items
    if len(ours) > _MAX_ITEMS or len(theirs) > _MAX_ITEMS:
        return Judgement(False, "too_many")
    if len(ours) == 1 and len(theirs) > 1 and (chain := chain_of([each.text for each in theirs])) is not None:
        theirs = [read(chain)]
    if len(ours) == 1 and len(theirs) == 1:
        return compare_one(ours[0], theirs[0])
    if gold.is_set and answer.is_set:
        ours, theirs = _distinct(ours), _distinct(theirs)
    verdict_of_items = _compare_items(gold, answer, ours, theirs, asked)
    if (
        not verdict_of_items.correct
        and 1 < len(answer.items_of_all_signs) <= _MAX_ITEMS
        and answer.items_of_all_signs != theirs
    ):
        other = _compare_items(gold, answer, ours, answer.items_of_all_signs, asked)
        return other if other.correct else verdict_of_items
    return verdict_of_items


def _distinct(items: list[Reading]) -> list[Reading]:
    kept: list[Reading] = []
    for item in items:
        if not any(same(each, item) for each in kept):
            kept.append(item)
    return kept


def _compare_items(
    gold: Reading, answer: Reading, ours: list[Reading], theirs: list[Reading], asked: Asked
) -> Judgement:
    if len(ours) != len(theirs):
        fewer, their_fewer = _spelled_once(ours), _spelled_once(theirs)
        if len(fewer) < len(ours) and len(theirs) == len(fewer):
            return _compare_items(gold, answer, fewer, theirs, asked)
        if len(their_fewer) == len(ours) < len(theirs):
            return _compare_items(gold, answer, ours, their_fewer, asked)
        return _compare_with_tuple(gold, answer, ours, theirs)
    if gold.only_or != answer.only_or and (_are_conditions(ours) or _are_conditions(theirs)):
        return Judgement(False, "connective")
    for rule in (numbered, named, ordered):
        if (verdict := rule(ours, theirs, asked)) is not None:
            return Judgement(verdict, rule.__name__)
    return Judgement(_in_any_order(ours, theirs), "list")


def _are_conditions(items: list[Reading]) -> bool:
    """Whether items hold together, such as `a = 1, b = 2` and `x > 0, y > 0`: then "or" is another answer than "and"."""
    names = [item.name for item in items]
    compared = all(len(item.parts) > 2 and item.parts[1] in ("<", ">", r"\le", r"\ge", r"\ne") for item in items)
    return compared or (None not in names and len(set(names)) == len(names) > 1)


def numbered(ours: list[Reading], theirs: list[Reading], asked: Asked) -> bool | None:
    """Numbered blanks, in their order.

    Right: `3, 4` for `1=3, 2=4`. Wrong: `4, 3` for `1=3, 2=4`.
    """
    if numbers_of(ours) != list(range(1, len(ours) + 1)):
        return None
    return _all_same(by_number(ours), by_number(theirs))


def _all_same(ours: list[Reading] | None, theirs: list[Reading] | None) -> bool:
    return ours is not None and theirs is not None and all(map(same, ours, theirs))


def named(ours: list[Reading], theirs: list[Reading], asked: Asked) -> bool | None:
    """Blanks of which some have names of their own: by name, and those without one in their order.

    Right: `b=1, a=4` for `a=4, b=1`. Right: `4, 1` for `a=4, b=1`. Wrong: `a=1, b=4` for `a=4, b=1`.
    """
    if (in_words := with_names(ours)) is not ours:
        ours, theirs = in_words, with_names(theirs)
    names = [name_of_blank(item) for item in ours]
    known = [name for name in names if name is not None]
    # One name before a list is that of all its values, x = 1, 2, 3, unless each is asked for by itself.
    if (
        not known
        or len(set(known)) != len(known)
        or len(names) == 1
        or (len(known) == 1 and names[0] and not asked.orders(len(ours)))
    ):
        return None
    return _all_same(ours, in_places(names, theirs))


def ordered(ours: list[Reading], theirs: list[Reading], asked: Asked) -> bool | None:
    """Blanks without names, in the order in which the question asks for them.

    A question with two blanks makes 3, 5 another answer than 5, 3.
    """
    if not asked.orders(len(ours)):
        return None
    if len(numbers_of(theirs)) == len(theirs):
        return _all_same(ours, by_number(theirs))
    names = asked.names if len(asked.names) == len(ours) else (None,) * len(ours)
    words = asked.words if len(asked.words) == len(ours) else ()
    return _all_same(*(in_places(names, items, words) for items in (ours, theirs)))


def _in_any_order(ours: list[Reading], theirs: list[Reading]) -> bool:
    remaining = list(theirs)
    for item in ours:
        found = next((other for other in remaining if same(item, other)), None)
        if found is None:
            return False
        remaining.remove(found)
    return True


def _spelled_once(items: list[Reading]) -> list[Reading]:
    """Items without those that are another spelling of one before them: 57.5, 115/2. Equal spellings are two items."""
    kept: list[Reading] = []
    for item in items:
        if not any(item.compact != each.compact and item.name == each.name and same(item, each) for each in kept):
            kept.append(item)
    return kept


def _compare_with_tuple(gold: Reading, answer: Reading, ours: list[Reading], theirs: list[Reading]) -> Judgement:
    """A list in the reference written as a tuple by the answer, or the other way round: the order then counts."""
    if r"\or" in gold.text or 1 not in (len(ours), len(theirs)):
        return _compare_pairs(ours, theirs)
    parts, their_parts = (items[0].places if len(items) == 1 else items for items in (ours, theirs))
    if len(parts) != len(their_parts) or len(parts) < 2 or gold.is_set or answer.is_set:
        return Judgement(False, "list_length")
    names, their_names = ([part.name or "" for part in items] for items in (parts, their_parts))
    if all(their_names):  # y = 1, x = 3 for (3, 1)
        return Judgement(
            _all_same(parts, in_places(names if all(names) else sorted(their_names), their_parts)), "tuple"
        )
    return Judgement(_all_same(parts, their_parts), "tuple")


def _compare_pairs(ours: list[Reading], theirs: list[Reading]) -> Judgement:
    """Solutions written out as `p = 5, q = 2, p = 7, q = 2` for `(5, 2), (7, 2)`, and the other way round."""
    for many, few in ((ours, theirs), (theirs, ours)):
        names = [item.name for item in many]
        width = next((n for n, name in enumerate(names) if n and name == names[0]), 0)
        if None in names or not width or len(many) != width * len(few) or names != names[:width] * len(few):
            continue
        values = [item.value.text if item.value is not None else "" for item in many]
        grouped = [read(f"({','.join(values[start : start + width])})") for start in range(0, len(values), width)]
        return Judgement(_in_any_order(*((grouped, few) if many is ours else (few, grouped))), "list")
    return Judgement(False, "list_length")
