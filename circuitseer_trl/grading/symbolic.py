"""Are two answers equal for Math-Verify? It decides on pairs that the rules of this folder cannot parse."""

import re

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

# Powers of powers, long exponents and factorials of long numbers: their value has more digits than memory.
_COSTLY = re.compile(r"\^\s*\{[^{}]*\^|\^\s*\w\s*\^|\^\s*\{?\s*-?\d{5,}|\d{4,}\s*\}?\)?\s*!|\d{200,}")
_CONFIGS = (LatexExtractionConfig(), ExprExtractionConfig())


def math_verify_equal(gold: str, answer: str) -> bool:
    """Whether Math-Verify finds two normalised texts equal. Texts with very large values are not given to it."""
    if _COSTLY.search(gold) or _COSTLY.search(answer):
        return False
    texts = [
        re.sub(r'"([^"]*)"', r"\\text{\1}", text).replace(r"\and", ",").replace("%", r"\%") for text in (gold, answer)
    ]
    for mark, command in ((r"\matrix", r"\begin{pmatrix}"), (r"\endmatrix", r"\end{pmatrix}"), (r"\cr", r"\\")):
        texts = [text.replace(mark, command) for text in texts]
    try:
        ours, theirs = (parse(f"${text}$", list(_CONFIGS), parsing_timeout=None) for text in texts)
        return bool(ours and theirs and verify(ours, theirs, timeout_seconds=None))
    except Exception:  # sympy and its parsers raise anything, and a verdict must come out
        return False
