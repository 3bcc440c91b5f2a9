"""Are two answers equal for Math-Verify? It decides on pairs that the rules of this folder cannot parse."""

import re
from typing import Any

from circuitseer_trl.grading import budget
from circuitseer_trl.grading.nodes import TooCostlyError
from circuitseer_trl.grading.relations import Judgement

# Powers of powers, long exponents and factorials of long numbers: their value has more digits than memory.
_COSTLY = re.compile(r"\^\s*\{[^{}]*\^|\^\s*\w\s*\^|\^\s*\{?\s*-?\d{5,}|\d{4,}\s*\}?\)?\s*!|\d{200,}")

_INFINITY = r"(?:\\infty(?![A-Za-z])|(?<![A-Za-z\\])inf(?:inity)?(?![A-Za-z]))"
_BOUND = re.compile(rf"(?:[\^_=]|\\to(?![A-Za-z]))[\s{{+-]*{_INFINITY}|^[\s+-]*{_INFINITY}\s*$")


def math_verify_equal(gold: str, answer: str) -> bool | None:
    """Whether Math-Verify finds two normalised texts equal; None where it cannot parse one.

    It is None where a text calculates with infinity. Texts with very large values are not given to it: `TooCostlyError`.
    """
    # Sympy finds half of infinity equal to 45 for some random points. It is a bound, or the whole answer.
    if any(re.search(_INFINITY, _BOUND.sub("", text)) for text in (gold, answer)):
        return None
    if _COSTLY.search(gold) or _COSTLY.search(answer):
        raise TooCostlyError("a sum or a power with too many digits for Math-Verify")
    texts = [
        re.sub(r'"([^"]*)"', r"\\text{\1}", text).replace(r"\and", ",").replace("%", r"\%") for text in (gold, answer)
    ]
    for mark, command in ((r"\matrix", r"\begin{pmatrix}"), (r"\endmatrix", r"\end{pmatrix}"), (r"\cr", r"\\")):
        texts = [text.replace(mark, command) for text in texts]
    return _verdict(*(f"${text}$" for text in texts))


def math_verify_alone(gold: str, answer: str) -> Judgement:
    """The verdict of Math-Verify on a reference and an answer as they are written, with its own defaults."""
    wrapped = gold if "$" in gold or "boxed" in gold else f"${gold}$"
    equal = _verdict(wrapped, rf"\boxed{{{answer}}}")
    return Judgement(bool(equal), "not_understood" if equal is None else "math_verify")


def _verdict(gold: str, answer: str) -> bool | None:
    with budget.paused():  # its import takes seconds, and few answers need it
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
        from sympy.core.cache import clear_cache
        from sympy.core.random import seed
    # Sympy tries random points and remembers what it found: neither may carry over from the answers before.
    clear_cache()
    seed(0)
    configs: list[Any] = [LatexExtractionConfig(), ExprExtractionConfig()]
    try:
        ours, theirs = (parse(text, configs, parsing_timeout=None) for text in (gold, answer))
        return bool(verify(ours, theirs, timeout_seconds=None)) if ours and theirs else None
    except Exception:  # sympy and its parsers raise anything, and a verdict must come out
        return None
