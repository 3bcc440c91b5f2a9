"""Is a multiple-choice answer right? Letters, their many spellings, and option texts."""

import re
from collections.abc import Callable

from circuitseer_trl.grading.normalization import fold_unicode

_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|math(?:rm|bf|sf|it|tt|bb|cal)|boldsymbol|[mh]box|underline|boxed|fbox|bm"
    r"|operatorname\*?|[lL]arge|LARGE|[hH]uge|color\s*\{\w+\}|textcolor\s*\{\w+\})\s*\{([^{}]*)\}"
)
_UNSEEN = re.compile(
    r"\\[,;:! >()\[\]]|~|\\(?:q?quad|left|right|bf|rm|it|displaystyle|checkmark)(?![A-Za-z])|\$|\*\*|[\"`“”]"
)
_PREFIX = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:correct\s+)?(?:answer|option|choice|statement|选项|答案|故选|应选|选)s?\s*"
    r"(?:is|are|为|是|:)?\s*(?:option|choice)?\s*",
    re.IGNORECASE,
)
_SEPARATORS = r"[\s,;、&和与/+]|\\cup(?![A-Za-z])|\band\b"


def plain(text: str) -> str:
    """Text without styles, dollars and odd spaces."""
    text, before = fold_unicode(text), None
    while before != text:
        before, text = text, _STYLE.sub(r"\1", text)
    return re.sub(r"\s+", " ", _UNSEEN.sub(" ", text)).strip()


def gold_letters(gold: str) -> set[str]:
    """Letters of a reference that is one or several options, else nothing."""
    text = plain(gold)
    match = re.match(r"^\(([A-K])\)\s*\S|^\(?([A-K])\)?\s*[.:)]?\s*$", text)
    if match:
        return {match[1] or match[2]}
    if re.fullmatch(r"[A-G](?:[\s,]*[A-G]){1,4}", text):
        letters = re.findall("[A-G]", text)
        return set(letters) if letters == sorted(set(letters)) else set()
    return set()


def gold_option(gold: str) -> str:
    """The text beside the letter in a reference such as `(A) 5`; empty where there is none."""
    match = re.match(r"^\([A-K]\)\s*(\S.*)$", plain(gold), re.DOTALL)
    return match[1] if match else ""


def _letters(text: str) -> set[str] | None:
    """Letters of an answer that is nothing but letters, or `None`."""
    text = re.sub(r"\s*(?:选项|项)$", "", _PREFIX.sub("", text).strip(" .:。"))
    if outer := re.fullmatch(r"\\\{(.*)\\\}|\{(.*)\}|\[(.*)\]|\(([A-K](?:[\s,]*[A-K])+)\)", text):
        text = next(inner for inner in outer.groups() if inner is not None).strip()
    text = re.sub(r"\(\s*([A-Ka-k])\s*\)", r"\1", text)
    text = re.sub(r"([A-K])\s*[.:)](?=\s|$|,|[A-K])", r"\1", text)
    bare = re.sub(_SEPARATORS, "", text)
    if re.fullmatch(r"[A-K]{1,6}", bare) and len(set(bare)) == len(bare):
        return set(bare)
    return {bare.upper()} if re.fullmatch(r"[a-k]", bare) else None


def compare_choice(letters: set[str], answer: str, options: dict[str, str], same: Callable[[str, str], bool]) -> bool:
    """Whether an answer names the right options.

    Args:
        letters: Letters of the reference.
        answer: Content of the box: letters, a letter with its text, or an option's text.
        options: Option texts by letter, as far as they are known.
        same: Compares two texts that are not letters.
    """
    text = plain(answer)
    written = {each for each, option in options.items() if plain(option) == text}
    named = _letters(text)
    if named is not None and not (written and text.islower()):
        return named == letters
    if len(letters) != 1:
        return False
    (letter,) = letters
    text = _PREFIX.sub("", text)

    def is_option(value: str) -> bool:
        """Whether a text is the right option's, and no other's as well."""
        written = {each for each, option in options.items() if plain(option) == plain(value)}
        if written:
            return letter in written
        others = (option for each, option in options.items() if each != letter)
        return same(options[letter], value) and not any(same(option, value) for option in others)

    labelled = re.match(r"^\(?\s*([A-K])\s*(?:\)|\.|:|\)\.)\s*(\S.*)$", text, re.DOTALL)
    if labelled:
        return labelled[1] == letter and (letter not in options or is_option(labelled[2]))
    if letter not in options:
        return False
    # A letter and the option's text, in either order.
    beside = re.match(r"^([A-K])\s*(?:,|=|\\(?:right)?arrow\s|\\to\s|\((?=.*\)$)|\s)\s*(\S.*)$", text, re.DOTALL)
    after = re.match(
        r"^(.*\S)\s*(?:\(\s*|,?\s*(?:i\.e\.,?|which is)?\s*(?:option|choice)\s*\(?)([A-K])\s*\)?$", text, re.DOTALL
    )
    if beside and beside[1] == letter and is_option(re.sub(r"^([^(]*)\)$", r"\1", beside[2])):
        return True
    if after and after[2] == letter and is_option(re.sub(r"[\s,]+$", "", after[1])):
        return True
    return is_option(answer)


def options_in(question: str) -> dict[str, str]:
    """Option texts that a question lists as `A. ...` or `(A) ...`; nothing where the letters are in no order."""
    marks = list(re.finditer(r"(?:^|(?<=[\s(（。;,$}]))[(（]?([A-K])\s*[).．:、）]\s*", question))
    for start in range(len(marks)):
        run = [marks[start]]
        for mark in marks[start + 1 :]:
            expected = chr(ord(run[-1][1]) + 1)
            if mark[1] == ("J" if expected == "I" and mark[1] == "J" else expected):
                run.append(mark)
        if len(run) >= 3 and run[0][1] in "AF":
            ends = [mark.start() for mark in run[1:]] + [len(question)]
            return {mark[1]: question[mark.end() : end].strip(" \n(（") for mark, end in zip(run, ends, strict=True)}
    return {}
