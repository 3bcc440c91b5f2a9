"""Which blank does each of several answers belong to? By its number, its name or its words; without these by its place."""

import re
from collections.abc import Sequence

from circuitseer_trl.grading.reading import Reading, read

_NUMERALS = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "first": 1, "second": 2, "third": 3, "fourth": 4}
_NUMBER = re.compile(
    r"(\d)\s*(?:[=:)]|\.(?!\d))\s*|\(\s*(\d|i{1,3}|iv)\s*\)\s*[=:.]?\s*"
    r'|"(?:the )?(first|second|third|fourth)(?: (?:blank|part|one))?:?"\s*[=:]?\s*'
)
_IN_WORDS = re.compile(r'"(?!not?\b)([^"]*[^":为是])[:为是]?"\s*[=:]?\s*([^"=:\s].*)')
_WORDS_BEHIND = re.compile(r'[^"]*\d[^"]*"([^"]*)"')
_SYMBOL = re.compile(r"[A-Za-z](?:_\w)?")


def numbers_of(items: list[Reading]) -> list[int]:
    """Numbers of the items that have one, such as `(2) 5`."""
    found = [match for item in items if (match := _NUMBER.match(item.text)) is not None]
    words = [match[1] or match[2] or match[3] for match in found]
    return [_NUMERALS.get(word) or int(word) for word in words]


def by_number(items: list[Reading]) -> list[Reading] | None:
    """Items without their numbers and in the order of these; None where each has one, and they are not 1, 2, 3."""
    numbers = numbers_of(items)
    bare = [read(_NUMBER.sub("", item.text, count=1)) if _NUMBER.match(item.text) else item for item in items]
    if sorted(numbers) != list(range(1, len(items) + 1)):
        return None if len(numbers) == len(items) else bare
    return [bare[numbers.index(number)] for number in sorted(numbers)]


def name_of_blank(item: Reading) -> str | None:
    """The name in `a = 5`; a letter is the same with and without quotes."""
    return item.name.strip('":') if item.name is not None else None


def with_names(items: list[Reading]) -> list[Reading]:
    """`mean 5` as `mean = 5`, where all items are of that kind."""
    matches = [_IN_WORDS.fullmatch(item.text) for item in items]
    return [read(f'"{each[1]}" = {each[2]}') for each in matches if each] if all(matches) else items


def in_places(
    names: Sequence[str | None], items: list[Reading], words: Sequence[frozenset[str]] = ()
) -> list[Reading] | None:
    """Items in the order of the blanks, those that say nothing in the places left over; None if they contradict the blanks.

    Args:
        names: The name of each blank, or nothing.
        items: As many answers.
        words: Words of each blank that no other one has.
    """
    placed: dict[int, Reading] = {}
    rest = []
    for item in items:
        place, value = _place(names, item, words)
        if place is None:
            rest.append(item)
        elif place in placed:
            return None  # one blank twice
        else:
            placed[place] = value
    free = [place for place in range(len(names)) if place not in placed]
    for place, item in zip(free, rest, strict=True):
        if placed and all(_SYMBOL.fullmatch(name or "") for name in (names[place], name_of_blank(item))):
            return None  # c = 3 where b is asked for, beside a = 3
        placed[place] = item
    return [placed[place] for place in range(len(names))]


def _place(names: Sequence[str | None], item: Reading, words: Sequence[frozenset[str]]) -> tuple[int | None, Reading]:
    """The blank that an item names, and what it gives for it."""
    name = name_of_blank(item)
    if name and name in names:
        return names.index(name), item
    before, behind = _IN_WORDS.fullmatch(item.text), _WORDS_BEHIND.fullmatch(item.text)
    said = (before or behind or {1: ""})[1] if item.name is None else name or ""
    of = [place for place, known in enumerate(words) if known & set(re.findall("[a-z]+", said.casefold()))]
    if len(of) != 1:
        return None, item
    return of[0], read(before[2]) if before is not None else item.value or item
