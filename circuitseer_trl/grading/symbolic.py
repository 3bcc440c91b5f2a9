"""Math-Verify as the last word on pairs that the rules here do not understand."""

import re

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

# Powers of powers, long exponents and factorials of long numbers: their value has more digits than memory.
_COSTLY = re.compile(r"\^\s*\{[^{}]*\^|\^\s*\w\s*\^|\^\s*\{?\s*-?\d{5,}|\d{4,}\s*\}?\)?\s*!|\d{200,}")
_CONFIGS = (LatexExtractionConfig(), ExprExtractionConfig())


def math_verify_equal(gold: str, answer: str) -> bool:
    """Whether Math-Verify takes two normalised texts for equal; costly ones are not even read."""
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
