"""Where is a problem cut, and how much of its rest did a model write? Exact match, and ROUGE-L."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from circuitseer_trl.pool.word_ngrams import WORD

CUT_AT = 0.6  # share of the text that is shown, as in Wu et al. (arXiv 2507.10532)


@dataclass(frozen=True)
class CutProblem:
    """A problem in two parts."""

    start: str
    rest: str


def cut_problem(text: str) -> CutProblem | None:
    """Cuts a problem after 60% of its characters, and not within a word; None if a part would have no word.

    Spaces before the rest belong to it: tokenizers put them in front of a word.
    """
    text = text.strip()
    target = int(CUT_AT * len(text))
    ends = [match.end() for match in WORD.finditer(text) if match.end() <= target]
    begun = next((match for match in WORD.finditer(text) if match.start() < target < match.end()), None)
    where = (ends[-1] if ends else 0) if begun is not None else target
    shown = text[:where].rstrip()
    rest = text[len(shown) :]
    return CutProblem(shown, rest) if WORD.search(shown) and WORD.search(rest) else None


def is_recited(rest: str, written: str) -> bool:
    """Whether a model wrote the whole rest, sign by sign. Spaces do not count, and what follows the rest does not."""
    pattern = r"\s*".join(map(re.escape, re.sub(r"\s+", "", rest)))
    found = re.match(rf"\s*{pattern}", written)
    # The word that the rest ends with must end there.
    return found is not None and re.match(r"\w\w", written[found.end() - 1 : found.end() + 1]) is None


def rouge_l(rest: str, written: str) -> float:
    """ROUGE-L of what a model wrote, cut to as many words as the rest has: the F-measure of Lin (2004) with equal weights.

    Words are those of `decontaminate_against`: lower-cased runs of letters or digits, and each Chinese character.
    """
    expected = WORD.findall(rest.lower())
    found = WORD.findall(written.lower())[: len(expected)]
    return 2 * common_subsequence(expected, found) / (len(expected) + len(found))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest sequence of words that two texts have in this order, with or without gaps."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for place, theirs in enumerate(other, start=1):
            row.append(before[place - 1] + 1 if word == theirs else max(before[place], row[-1]))
    return row[-1]
