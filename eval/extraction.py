"""Finds the final answer in a response: what the last closed box holds."""

import re
from dataclasses import dataclass

# A program that wrote \b into plain text left a backspace and "oxed".
_BOX = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed)(?![A-Za-z])\s*(\{)?")
_BARE = re.compile(r"[^\s$\\{}]+|\\[A-Za-z]+(?:\{[^{}]*\})*|\\.")
# What may stand between two boxes that are one list: `$\boxed{1}$ and $\boxed{2}$`.
_SPACE = r"(?:\$|\\[()\[\],;! ]|\\q?quad|\s)*"
_JOIN = r"(?:,|，|、|;|&|\band\b|\bor\b|和|或|\\text\{\s*(?:and|or)\s*\})+"
_BETWEEN = re.compile(f"{_SPACE}(?:{_JOIN}{_SPACE})+")
_PERCENT_AFTER = re.compile(r"\s*(?:\$|\\\)|\\\])*\s*(?:\\?%|percent\b)", re.IGNORECASE)


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    content: str


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


def _boxes(text: str) -> list[_Span]:
    """All closed boxes that lie in no other one, in order."""
    closing = _closing_braces(text)
    spans: list[_Span] = []
    for match in _BOX.finditer(text):
        if spans and match.start() < spans[-1].end:
            continue
        if match.group(1):
            brace = match.end() - 1
            if brace in closing:
                spans.append(_Span(match.start(), closing[brace] + 1, text[brace + 1 : closing[brace]]))
        elif bare := _BARE.match(text, match.end()):
            spans.append(_Span(match.start(), bare.end(), bare.group()))
    return spans


def extract_answer(response: str) -> str | None:
    """What the last closed `\\boxed{}` (or `\\fbox`, `\\framebox`, `\\boxed 5`) holds, or `None`.

    A box that never closes was cut off, and is no answer. Boxes joined by a comma or "and" are one list.
    """
    if "box" not in response and "\x08oxed" not in response:
        return None
    boxes = _boxes(response)
    if not boxes:
        return None
    parts = [boxes[-1].content]
    for before, after in zip(reversed(boxes[:-1]), reversed(boxes[1:]), strict=True):
        if not _BETWEEN.fullmatch(response, before.end, after.start):
            break
        parts.insert(0, before.content)
    answer = ", ".join(_BOX.sub(lambda match: match.group(1) or "", part).strip() for part in parts)
    if "%" not in answer and "percent" not in answer and _PERCENT_AFTER.match(response, boxes[-1].end):
        answer += r"\%"
    return answer or None
