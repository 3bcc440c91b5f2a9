"""Do two answers in words mean the same?"""

import re

_FILLERS = re.compile(r"\b(?:an?|the|condition|answer is|it is|is|due|solutions?|real|there)\b")
_ORDINALS = {
    "first": "1", "second": "2", "third": "3", "fourth": "4", "1st": "1", "2nd": "2", "3rd": "3", "4th": "4",
    "i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "one": "1", "two": "2", "three": "3", "four": "4",
    "一": "1", "二": "2", "三": "3", "四": "4",
}  # fmt: skip
OTHERWISE = re.compile(r"otherwise|\belse\b|elsewhere|其他|其它|其余", re.IGNORECASE)
_ROMAN = re.compile(r"I{1,3}|IV|VI?")


def words(text: str) -> str:
    """Letters and digits of a text without the words that change nothing."""
    text = _FILLERS.sub(" ", text.casefold())
    if re.search(r"[\d=<>]", text):
        return re.sub(r'[\s",;]', "", text)  # mathematics, of which every sign counts
    text = re.sub(r"\\(?:and|or)|[_\\]", " ", text)
    parts = [
        word if len(word) < 4 else word.removesuffix("s") for word in re.findall(r"[a-z0-9]+|[\u3400-\u9fff]+", text)
    ]
    return "".join(parts)


def same_phrase(one: str, other: str) -> bool:
    """Whether two texts mean the same: the same words, quadrant or condition, or that there is no solution."""
    if words(one) and words(one) == words(other):
        return True
    if _no_solution(one) and _no_solution(other):
        return True
    for reading in (condition, _quadrant):
        ours = reading(one)
        if ours is not None:
            return ours == reading(other) or (reading is _quadrant and ours == _numeral(other))
    if (
        words(one) in ("yes", "no")
        and not re.search(r"\d", other)
        and (first := re.match(r'\W*"?(yes|no)\b\s*"?\s*[,.;]', other.casefold()))
    ):
        return first[1] == words(one)
    kind = re.sub(r"\b(?:function|number|polygon|curve)\b", "", re.sub(r"[^a-z ]", " ", other.casefold()))
    return bool(words(one)) and words(one) == words(kind) and not re.search(r"\d", other)


def _no_solution(text: str) -> bool:
    bare = words(text)
    return bare in ("no", "none", "doenotexist", "dne", "无解", "不存在") or (
        r"\emptyset" in text and not re.search(r"[\d(\[]|\\\{", text)
    )


def condition(text: str) -> tuple[bool, bool] | None:
    """What a text says of a condition: whether it is necessary, and whether it is sufficient."""
    text = re.sub(r"\\(?:and|or)|[\\\",()]", " ", text.casefold())
    if re.search(r"充要|充分必要|充分且必要|necessary and sufficient|sufficient and necessary", text):
        return (False, False) if re.search(r"neither|not (?:a )?(?:necessary|sufficient) and", text) else (True, True)
    english = re.search(r"\b(?:ne)?ither\b|necessary|sufficient", text)
    if english:
        if re.search(r"neither", text):
            return (False, False)
        found = {
            name: bool(re.search(name, text))
            and not re.search(rf"(?:\bnot (?:a |an )?|\bnon-?\s?|\b(?:in|un)){name}", text)
            for name in ("necessary", "sufficient")
        }
        both = re.search(r"necessary", text) and re.search(r"sufficient", text)
        return (found["necessary"], found["sufficient"]) if both else None
    if "充分" in text and "必要" in text:
        return tuple(not re.search(rf"[不非][^充必]{{0,6}}{name}", text) for name in ("必要", "充分"))  # type: ignore[return-value]
    return None


def _quadrant(text: str) -> str | None:
    match = re.search(r'"?quadrants?"?\s*"?(\w+)|(\w+)\s*"?quadrant|第([一二三四])象限', text.casefold())
    if match is None:
        return None
    return _ORDINALS.get(match[1] or match[2] or match[3], match[1] or match[2] or match[3])


def _numeral(text: str) -> str:
    bare = text.strip(' ."').casefold()
    return _ORDINALS.get(bare, bare)


def roman_numbers(parts: list[str]) -> list[str]:
    """Roman numerals as numbers, where all of several parts are such; else the parts."""
    bare = [
        re.sub(r"^(?:quadrants?|statements?)", "", re.sub(r'[\s"]', "", part), flags=re.IGNORECASE) for part in parts
    ]
    if len(parts) < 2 or "II" not in bare or not all(_ROMAN.fullmatch(part) for part in bare):
        return parts
    return [_ORDINALS.get(part.casefold(), part) for part in bare]
