"""What is the final answer of a response? The content of its last box."""

import re
from dataclasses import dataclass

# A program that wrote \b into plain text left a backspace and "oxed".
_BOX = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed)(?![A-Za-z])\s*((?:\[[^\[\]{}]{0,20}\]){0,2}\s*\{)?")
_BARE = re.compile(r"[^\s$\\{}\[|`'\"]+|\\[A-Za-z]+(?:\{[^{}]*\})*")
# What may stand between two boxes that are one list: `$\boxed{1}$ and $\boxed{2}$`, `$x=\boxed{1}$ and $y=\boxed{2}$`.
_SPACE = r"(?:\$|\\[()\[\],;! ]|\\q?quad(?![A-Za-z])|\s)*"
_JOIN = r"(?:(?:,|，|、|;|&|\band\b|\bor\b|和|或|与|\\text\{\s*(?:and|or)\s*\})\s*)+"
_NAMED = r"(?:[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*(?:=|\\in)\s*)?"
_BETWEEN = re.compile(f"{_SPACE}{_JOIN}{_SPACE}{_NAMED}{_SPACE}")
_BESIDE = re.compile(r"(?:\$|\\[,;!]|\\q?quad(?![A-Za-z]))*")
_LONGEST_BETWEEN = 80
_AFTER = r"(?:\$|\\\)|\\\]|\\[,;! ]|\s)*"
_PERCENT_AFTER = re.compile(
    _AFTER + r"(?:\\?%|(?:percent|pct)\b|\\(?:text|mathrm|mbox)\{\s*(?:\\?%|percent|pct)[^{}]{0,10}\})", re.IGNORECASE
)
_BASE_AFTER = re.compile(r"_(?:\d{1,2}|\{\s*\d{1,2}\s*\})(?!\d)")

# What a formula puts around its box: a minus in front, an exponent behind, a root or a fraction.
_MINUS_BEFORE = re.compile(r"(?:[=$(\[{]|\\[(\[,;!])\s*[-\u2212]\s*$")
_POWER_AFTER = re.compile(r"\s*\^\s*(?!\{?\s*\\circ)(\{[^{}]*\}|\w)")
_WITHIN = re.compile(r"\\(?:sqrt\s*(?:\[[^\]]*\])?|[dtc]?frac\s*(?:\{[^{}]*\})?)\s*\{[^{}]*$")
_NAME_BEFORE = re.compile(r"(?<![\\A-Za-z])([A-Za-z](?:_\{?\w\}?)?)\s*=\s*\$?\s*$")
_PART_BEFORE = re.compile(r"(?:^|[\n.;,$。；])\s*\((\d)\)")


@dataclass(frozen=True)
class _Span:
    """A box; one that was cut off has no content."""

    start: int
    end: int
    content: str | None


def _closing_braces(text: str) -> dict[int, int]:
    """Position of the closing brace of every opening one that has one, in one pass; escaped braces are characters."""
    closing, open_positions, position = {}, [], 0
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            open_positions.append(position)
        elif character == "}" and open_positions:
            closing[open_positions.pop()] = position
        position += 1
    return closing


def without_boxes(text: str) -> str:
    """The text with the content of each box in the box's place."""
    if "box" not in text:
        return text
    closing = _closing_braces(text)
    removed = set[int]()
    for match in _BOX.finditer(text):
        if match.group(1) and match.end() - 1 in closing:
            removed |= {*range(match.start(), match.end()), closing[match.end() - 1]}
    return "".join(character for position, character in enumerate(text) if position not in removed)


def _boxes(text: str) -> list[_Span]:
    """All boxes that lie in no other one, in order."""
    closing = _closing_braces(text)
    spans: list[_Span] = []
    for match in _BOX.finditer(text):
        if spans and match.start() < spans[-1].end:
            continue
        if match.group(1):
            brace = match.end() - 1
            if brace in closing:
                spans.append(_Span(match.start(), closing[brace] + 1, text[brace + 1 : closing[brace]]))
            else:
                spans.append(_Span(match.start(), match.end(), None))
        elif bare := _BARE.match(text, match.end()):
            spans.append(_Span(match.start(), bare.end(), bare.group()))
        elif match.end() == len(text):
            spans.append(_Span(match.start(), match.end(), None))
    return spans


def extract_answer(response: str, parts: int = 1) -> str | None:
    """What the last `\\boxed{}` (or `\\fbox`, `\\framebox`, `\\boxed 5`) holds, or `None`.

    A last box that never closes was cut off: then there is no answer, whatever was boxed before. Boxes joined by a
    comma or "and", and boxes side by side that differ, are one list; so are as many boxes as the question has parts.
    """
    if "box" not in response and "\x08oxed" not in response:
        return None
    boxes = _boxes(response)
    if not boxes or boxes[-1].content is None:
        return None
    first = len(boxes) - 1
    while first and boxes[first - 1].content is not None:
        if len(boxes) != parts and not _are_joined(response, boxes[first - 1], boxes[first]):
            break
        first -= 1
    several = boxes[first:]
    starts = [boxes[first - 1].end if first else 0, *(box.end for box in several)]
    before = [response[start : box.start] for start, box in zip(starts, several, strict=False)]
    behind = [*before[1:], response[several[-1].end :][:80]]
    contents = [_BOX.sub(lambda m: "{" if m.group(1) else "", box.content or "").strip() for box in several]
    contents = [
        content and _with_formula(content, text[-80:], after[:80])
        for content, text, after in zip(contents, before, behind, strict=True)
    ]
    if not all(contents):
        return None
    answer = ", ".join(_with_labels(contents, before))
    if "%" not in answer and "percent" not in answer and _PERCENT_AFTER.match(response, boxes[-1].end):
        answer += r"\%"
    if answer.isalnum() and (base := _BASE_AFTER.match(response, boxes[-1].end)):
        answer += base.group()
    return answer or None


def _with_formula(answer: str, before: str, after: str) -> str:
    """A box's content with the minus and the exponent that stand around it; nothing if it is a part of a root or a fraction."""
    if _WITHIN.search(before):
        return ""
    if power := _POWER_AFTER.match(after):
        answer = f"({answer})^{power[1]}"
    if _MINUS_BEFORE.search(before):
        answer = f"-({answer})" if re.search(r"[-+,;]", answer) else f"-{answer}"
    return answer


def _with_labels(contents: list[str], before: list[str]) -> list[str]:
    """Contents of several boxes with the names before them, `x = \\boxed{1}`, or the numbers of parts in another order."""
    if len(contents) == 1:
        return contents
    names = [_NAME_BEFORE.search(text[-80:]) for text in before]
    if all(names) and not any(re.search("[=,;]", content) for content in contents):
        return [f"{name[1]}={content}" for name, content in zip(names, contents, strict=True) if name]
    numbers = [_PART_BEFORE.findall(text) for text in before]
    flat = [number for found in numbers for number in found]
    in_order = [str(number + 1) for number in range(len(contents))]
    if all(len(found) == 1 for found in numbers) and flat != in_order and sorted(flat) == in_order:
        return [f"({number}) {content}" for number, content in zip(flat, contents, strict=True)]
    return contents


def _are_joined(response: str, before: _Span, after: _Span) -> bool:
    if after.start - before.end > _LONGEST_BETWEEN:
        return False
    if _BETWEEN.fullmatch(response, before.end, after.start):
        return True
    return before.content != after.content and bool(_BESIDE.fullmatch(response, before.end, after.start))
