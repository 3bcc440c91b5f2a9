"""Which Chinese words are signs? Relations, and fractions such as 二分之一."""

import re

_RELATIONS = (
    (r"大于或?等于|不小于|不少于", r"\\ge "),
    (r"小于或?等于|不大于|不超过", r"\\le "),
    (r"(?<!不)大于", ">"),
    (r"(?<!不)小于", "<"),
    (r"不等于", r"\\ne "),
)
_DIGITS = {word: str(value) for value, word in enumerate("零一二三四五六七八九十")}
_FRACTION = re.compile(
    r"([一二三四五六七八九十]|\d+)分之([一二三四五六七八九十]|\d+)(?![一二三四五六七八九十百千万\d])"
)


def chinese_signs(text: str) -> str:
    """The text with signs in the place of such words."""
    for words, sign in _RELATIONS:
        text = re.sub(words, f" {sign} ", text)
    return _FRACTION.sub(lambda m: rf" \frac{{{_DIGITS.get(m[2], m[2])}}}{{{_DIGITS.get(m[1], m[1])}}} ", text)
