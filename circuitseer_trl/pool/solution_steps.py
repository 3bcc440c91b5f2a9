"""What is a step of a worked solution? A part of its text, by one of three rules."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

StepRule = Literal["lines", "sentences", "paragraphs"]

# What ends a step. A decimal point does not, since no space follows it; "e.g. " does, which is a known limit.
_ENDS = {"lines": r"\n", "sentences": r"(?<=[.?!])\s", "paragraphs": r"\n\s*\n"}


def step_starts(text: str, rule: StepRule = "lines") -> list[int]:
    """The position in characters of the first character of each step, without the white space before it.

    A text without white space at an end of a step has one step, and an empty text has none.
    """
    edges = [0, *(found.end() for found in re.finditer(_ENDS[rule], text)), len(text)]
    parts = [(start, text[start:end]) for start, end in pairwise(edges)]
    return [start + len(part) - len(part.lstrip()) for start, part in parts if part.strip()]


def num_steps(text: str, rule: StepRule = "lines") -> int:
    return len(step_starts(text, rule))


def first_tokens(offsets: Sequence[tuple[int, int]], starts: Sequence[int], num_first: int = 1) -> list[int]:
    """The places of the first tokens of each step.

    Args:
        offsets: Start and end of each token in the text, in characters.
        starts: As from `step_starts`.
        num_first: Number of tokens at the start of a step that count. Where a step has fewer, the next step's count once.

    Returns:
        Places in their order, each once. The first token of a step is the one that holds its first character.
    """
    found: set[int] = set()
    place = 0
    for start in starts:
        while place < len(offsets) and offsets[place][1] <= start:
            place += 1
        found.update(range(place, min(place + num_first, len(offsets))))
    return sorted(found)


def step_of_tokens(offsets: Sequence[tuple[int, int]], starts: Sequence[int]) -> list[int]:
    """The step of each token, from 1: a token that holds the first character of a step belongs to it. Arguments as above."""
    return [max(1, bisect_right(starts, max(start, end - 1))) for start, end in offsets]
