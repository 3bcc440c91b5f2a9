"""Which integers does `n \\equiv 1 \\pmod{3}` name? It is the family n = 1 + 3k; a modulus that only one text has is ignored."""

import re

_MODULUS = re.compile(r"\s*\(?\s*\\?[pb]?mod\s*(\{[^{}]*\}|\w+)\s*\)?\s*$")
_CONGRUENT = re.compile(r"\\equiv(?![A-Za-z])")


def without_moduli(one: str, other: str) -> tuple[str, str]:
    """Two normalised texts with their congruences as families. In `3 \\pmod 7` beside `3` the modulus is a remark."""
    both = all(map(_MODULUS.search, (one, other)))
    first, second = (_as_family(text, both) for text in (one, other))
    return first, second


def _as_family(text: str, both: bool) -> str:
    match = _MODULUS.search(text)
    if match is None:
        return text
    body, modulus = text[: match.start()], match[1].strip("{}")
    if not both and not _CONGRUENT.search(body):
        return body
    dummy = next(letter for letter in "kmt" if not re.search(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", body + modulus))
    parts = re.split(r"(\s*(?:[,;]|\\(?:and|or)(?![A-Za-z]))\s*)", _CONGRUENT.sub("=", body))
    parts[::2] = [f"{part}+({modulus}){dummy}" for part in parts[::2]]
    return f"{''.join(parts)} , {dummy} \\in Z"
