"""Whether an answer means what the reference means. Runs inside the grading processes only."""

import re
from dataclasses import dataclass

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

_MAX_CHARACTERS = 2000
_STYLE = re.compile(r"\\(?:text|textbf|textsf|textit|mathrm|mathbf|mathsf|boldsymbol|bf|rm)\s*\{([^{}]*)\}")
_LETTER = re.compile(r"(?:option|choice)?\s*\(?([A-K])\)?\s*[.:,)）]?", re.IGNORECASE)
_LABELLED = re.compile(r"\(?([A-K])(?:\)|\.|:|\))\s*(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class Comparison:
    correct: bool
    reason: str


def _plain(text: str) -> str:
    before = None
    while before != text:
        before, text = text, _STYLE.sub(r"\1", text)
    return re.sub(r"\s+", " ", text.replace("$", "").replace("（", "(").replace("）", ")")).strip()


def _too_costly(text: str) -> bool:
    """Powers of powers, long exponents and factorials of long numbers: their value has more digits than memory."""
    return bool(re.search(r"\^\s*\{?[^{}]*\^|\^\s*\{?\s*-?\d{5,}|\d{5,}\s*\}?\)?\s*!", text))


def compare(gold: str, answer: str, choices: dict[str, str] | None = None) -> Comparison:
    """Compares one answer with one reference.

    Args:
        gold (`str`): Reference; an empty one can never be met.
        answer (`str`): What the box held.
        choices (`dict[str, str]`, *optional*): Option texts by letter, where the reference is a letter.
    """
    plain_gold, plain_answer = _plain(gold), _plain(answer)
    if not plain_gold:
        return Comparison(False, "empty_gold")
    if not plain_answer:
        return Comparison(False, "no_answer")
    if plain_gold == plain_answer:
        return Comparison(True, "same_text")
    if len(gold) > _MAX_CHARACTERS or len(answer) > _MAX_CHARACTERS:
        return Comparison(False, "too_long")
    gold_letter = re.fullmatch(r"\(?([A-K])\)?[.．]?", plain_gold)
    if gold_letter:
        return _compare_choice(gold_letter[1], plain_answer, answer, choices or {})
    return _compare_symbolically(gold, answer)


def _compare_choice(letter: str, plain_answer: str, answer: str, choices: dict[str, str]) -> Comparison:
    if match := _LETTER.fullmatch(plain_answer):
        return Comparison(match[1].upper() == letter, "choice_letter")
    if match := _LABELLED.fullmatch(plain_answer):
        text = choices.get(letter)
        same = match[1] == letter and (text is None or _plain(text) == match[2] or compare(text, match[2]).correct)
        return Comparison(same, "choice_letter_and_text")
    if letter in choices:
        return Comparison(compare(choices[letter], answer).correct, "choice_text")
    return Comparison(False, "not_a_choice")


def _compare_symbolically(gold: str, answer: str) -> Comparison:
    if _too_costly(gold) or _too_costly(answer):
        return Comparison(False, "too_costly")
    configs = [LatexExtractionConfig(), ExprExtractionConfig()]
    try:
        gold_value = parse(f"${gold.strip('$')}$", configs, parsing_timeout=None)
        answer_value = parse(f"${answer.strip('$')}$", configs, parsing_timeout=None)
        if not gold_value or not answer_value:
            return Comparison(False, "unparsed")
        return Comparison(bool(verify(gold_value, answer_value, timeout_seconds=None)), "math_verify")
    except RecursionError:
        return Comparison(False, "too_deep")
    except Exception as error:  # sympy and its parsers raise anything, and a verdict must come out
        return Comparison(False, f"error: {type(error).__name__}")
