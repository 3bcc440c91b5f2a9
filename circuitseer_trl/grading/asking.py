"""What does the question say about its answer? How many blanks, in which order, whether a percentage or a family is asked for."""

import re
from dataclasses import dataclass
from functools import lru_cache

_PERCENT = re.compile(r"percent|%|百分", re.IGNORECASE)
_CONSTANTS = re.compile(
    r"\\i*int(?![A-Za-z])|∫|integra|derivative|differential|constant|积分|微分|原函数|通解|常数|general solution",
    re.IGNORECASE,
)
_BLANK = re.compile(
    r"\\qquad(?![A-Za-z])|_{2,}|(?:\\_){2,}|\\underline\{(?:\\q?quad|\\hspace\{[^{}]*\}|\\[ ,]|\s)*\}|▲|（\s*）"
)
_NAMED_BLANK = re.compile(rf"([A-Za-z](?:_\{{?\w+\}}?)?)\s*=\s*\$?\s*(?:{_BLANK.pattern})")
_PART = re.compile(r"(?:^|(?<=[\s。.;；，,:：]))[(（]\s*([1-9])\s*[)）]")
_IN_ORDER = re.compile(r"respectively|分别|依次|in (?:this|that|the given|the same) order|按顺序", re.IGNORECASE)
_ALTERNATIVES = re.compile(
    r"\b(?:all|possible|roots?|solutions?|zeros?|values? of \$?[a-z]\$? for which)\b|所有|可能|取值",
    re.IGNORECASE,
)
# Of a smallest and a largest value each number shows which one it is, and references name them in either order.
_EXTREMES = re.compile(r"\b(?:max|min|small|large|great|least|lowest|highest)|最[大小高低]", re.IGNORECASE)
_UNITS = re.compile(r"\b(?:how many|in)\s+((?:square |cubic )?[a-z]+(?: per [a-z]+)?)", re.IGNORECASE)
_COMMON = {"the", "and", "are", "its", "then", "that", "with", "for", "was", "has", "there"}
_SYMBOL = r"(?:\\angle\s*)?\\?[A-Za-z]+(?:\s*_\s*(?:\{[^{}]*\}|\w))?(?:\s*[A-Z](?:_\{?\d\}?)?)*(?:\([^()]{1,8}\))?"
_SYMBOLS = re.compile(
    r"(?:of|for|determine|find|compute|calculate|both|angles?|求)\s+"
    rf"({_SYMBOL}(?:\s*,\s*{_SYMBOL})*\s*,?\s+and\s+{_SYMBOL})(?![A-Za-z(])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Asked:
    """What a question says about the form of its answer.

    Attributes:
        percent: Whether it asks for a percentage; the sign may then be left out.
        constants: Whether it speaks of constants or integrals; None without a question.
        blanks: Number of blanks or numbered parts.
        names: Different quantities that it names to be found, in their order; for blanks without a name, nothing.
        alternatives: Whether it asks for all values of one kind.
        in_order: Whether it asks for an order by name.
        units: Words after "how many" and "in", of which one may be the answer's unit.
        words: For each blank words that stand beside it, and beside no other one.
    """

    percent: bool = False
    constants: bool | None = None
    blanks: int = 0
    names: tuple[str, ...] = ()
    alternatives: bool = False
    in_order: bool = False
    units: tuple[str, ...] = ()
    words: tuple[frozenset[str], ...] = ()

    def orders(self, count: int) -> bool:
        """Whether so many answers have an order: each belongs to a blank of its own."""
        if count < 2:
            return False
        if self.in_order or self.blanks == count:
            return True
        return not self.alternatives and len(self.names) == count


@lru_cache(maxsize=1024)
def asked_in(question: str | None) -> Asked:
    """What is known from the text of a question."""
    if not question:
        return Asked()
    parts = [int(number) for number in _PART.findall(question)]
    numbered = len(parts) if parts == list(range(1, len(parts) + 1)) else 0
    sentences = [each for each in re.split(r"(?<=[.?。？])\s+", question.strip()) if each.strip(" .$")]
    last = sentences[-1] if sentences else question
    questions = len(re.findall(r"[?？]", question))
    extremes = bool(_EXTREMES.search(last))
    plain = re.sub(r"\s+", " ", last.replace("$", " "))
    named = _SYMBOLS.search(plain)
    blanks = len(_BLANK.findall(question))
    names = _names_of_blanks(question)
    if not any(names):
        names = re.split(r",\s*(?:and\s)?|\sand\s", named[1]) if named else []
    return Asked(
        percent=bool(_PERCENT.search(question)),
        constants=bool(_CONSTANTS.search(question)),
        blanks=blanks or numbered or (questions if questions > 1 and not extremes else 0),
        names=tuple(re.sub(r"[\s{}]", "", name) for name in names),
        alternatives=extremes or bool(_ALTERNATIVES.search(last)),
        in_order=bool(_IN_ORDER.search(last)),
        units=tuple(_UNITS.findall(last)),
        words=_words_of_blanks(question) if blanks else _words_in_order(last),
    )


def _names_of_blanks(question: str) -> list[str]:
    """The x of each `x = ____`; nothing for other blanks, and for `x = ____ or x = ____`."""
    named = {match.end(): match[1] for match in _NAMED_BLANK.finditer(question)}
    names = [named.get(blank.end(), "") for blank in _BLANK.finditer(question)]
    return [name if names.count(name) == 1 else "" for name in names]


def _words(text: str) -> set[str]:
    return set(re.findall(r"(?<!\\)\b[a-z]{3,}\b", text.casefold())) - _COMMON


def _words_of_blanks(question: str) -> tuple[frozenset[str], ...]:
    """Words that belong to one blank alone: those before it, and one behind it that "and" or a stop ends."""
    pieces = _BLANK.split(question)
    owned = [_words(piece) for piece in pieces[:-1]]
    for number, piece in enumerate(pieces[1:]):
        if behind := re.match(r"[\s$]*([a-z]{3,})\b(\s+and\b|\s*[,.;])?", piece.casefold()):
            owned[number] |= {behind[1]} - _COMMON
            if behind[2] and number + 1 < len(owned):
                owned[number + 1].discard(behind[1])
    return _owned_alone(owned)


def _words_in_order(sentence: str) -> tuple[frozenset[str], ...]:
    """Width and length in "the width and the length, respectively"."""
    pairs = re.findall(r"\b([a-z]{3,}) and (?:the )?([a-z]{3,})\b", sentence.casefold())
    return _owned_alone([{each} for each in pairs[0]]) if len(pairs) == 1 and _IN_ORDER.search(sentence) else ()


def _owned_alone(owned: list[set[str]]) -> tuple[frozenset[str], ...]:
    others = (set[str]().union(*owned[:number], *owned[number + 1 :]) for number in range(len(owned)))
    return tuple(frozenset(words - other) for words, other in zip(owned, others, strict=True))
