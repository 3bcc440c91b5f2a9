"""Cuts normalised answers into their parts: lists, brackets, relations, matrices, plus-minus."""

import re
from itertools import product

from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.nodes import Node, number
from circuitseer_trl.grading.tokens import ParseError, UnknownCommandError

_RELATION = re.compile(r"\\(?:le|ge|ne|in|approx|equiv|sim)(?![A-Za-z])|[=<>]")
_SEPARATOR = r"[,;]|\\(?:and|or)(?![A-Za-z])"
_IF = r'"(?:and )?(?:if|for|when|当|where)"'
_SIGN = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_MAX_SIGNS = 4


def compact(text: str) -> str:
    """The text without what spacing alone can change; only an exponent or index of one character loses its braces."""
    text = re.sub(r"([\^_])\s*\{\s*(\w)\s*\}", r"\1\2", text)
    return re.sub(r"\s+", "", re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|([\^_]\w)\s*(?=\w)", r"\1\2~", text))


def _scan(text: str) -> list[int]:
    """Depth of brackets before every character. `(1, 2]` closes what it opens, as intervals do."""
    depth, depths, position = 0, [], 0
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            step = {"{": 1, "}": -1}.get(text[position + 1], 0)
            depths += [depth if step >= 0 else depth - 1] * 2
            depth += step
            position += 2
            continue
        if character in ")]}":
            depth -= 1
        depths.append(depth)
        if character in "([{":
            depth += 1
        position += 1
    return depths


def split_top_level(text: str, separator: str = _SEPARATOR) -> list[str]:
    """Parts between commas, semicolons, "and" and "or" (or what else separates) that are in no brackets."""
    depths, parts, start = _scan(text), [], 0
    for match in re.finditer(separator, text):
        if depths[match.start()] <= 0:
            parts.append(text[start : match.start()])
            start = match.end()
    parts = [part.strip() for part in [*parts, text[start:]]]
    return [part for part in parts if part] or [text]


def strip_brackets(text: str, opening: str, closing: str) -> str | None:
    """What one pair of brackets around the whole text holds, or `None`."""
    text = text.strip()
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return None
    depths = _scan(text)
    inner = range(len(opening), len(text) - len(closing))
    if depths[-1] != 0 or any(depths[position] < 1 for position in inner):
        return None
    return text[len(opening) : len(text) - len(closing)].strip()


def relation_parts(text: str) -> list[str]:
    """Sides and relations in turn: `1 < x \\le 2` gives five parts, an expression one."""
    depths, parts, start = _scan(text), [], 0
    for match in _RELATION.finditer(text):
        if depths[match.start()] <= 0:
            parts += [text[start : match.start()].strip(), match.group()]
            start = match.end()
    return [*parts, text[start:].strip()]


def expand_signs(text: str, *, together: bool = True) -> list[str]:
    """`1 \\pm 2` as `1 + 2` and `1 - 2`; all signs of one text change together, or each by itself."""
    signs = _SIGN.findall(text)
    if not signs:
        return [text]
    if together or len(signs) > _MAX_SIGNS:
        choices = [tuple(sign == upper for sign in signs) for upper in (r"\pm", r"\mp")]
    else:
        choices = list(product((True, False), repeat=len(signs)))
    between = _SIGN.split(text)
    return [
        "".join(part + sign for part, sign in zip(between, [*("+" if up else "-" for up in choice), ""], strict=True))
        for choice in choices
    ]


def case_rows(text: str) -> list[list[str]] | None:
    """Values and conditions of a function defined by cases; `None` for anything else."""
    match = re.fullmatch(r"[^=]*=?\s*\\\{\s*\\matrix (.*)\\endmatrix\s*\.?", text.strip(), re.DOTALL)
    if match is not None:
        lines = re.split(r"\\cr(?![A-Za-z])", match[1])
    else:  # x^2 if x >= 0, and -x if x < 0
        lines = [line for line in re.split(rf"(?:{_SEPARATOR})\s*(?=[^,;\"]*{_IF})", text) if line.strip()]
        if len(lines) < 2 or not all(re.search(_IF, line) for line in lines):
            return None
    rows = [split_top_level(re.sub(_IF, ",", line), "[,&;]") for line in lines if line.strip()]
    return [[_unbracketed(part.rstrip(" .")) for part in row if part.strip(" .")] for row in rows]


def _unbracketed(condition: str) -> str:
    """(n = 1) as n = 1."""
    inner = strip_brackets(condition, "(", ")")
    return inner if inner is not None and len(relation_parts(inner)) > 1 else condition


def matrix_cells(text: str) -> list[list[Node]] | None:
    """Cells of a matrix, a factor before it multiplied in; `None` for anything else."""
    if nested := strip_brackets(text, "[", "]"):
        rows = [strip_brackets(row, "[", "]") for row in split_top_level(nested)]
        if rows and None not in rows:
            return [[parse_expression(cell) for cell in split_top_level(row or "")] for row in rows]
    if r"\matrix" not in text:
        return None
    text = re.sub(r"^[^=\\]*=", "", text.strip())
    match = re.fullmatch(
        r"([^\\]*(?:\\(?!matrix)[^\\]*)*?)\(?\s*\[?\\matrix (.*?)\\endmatrix\s*\]?\s*\)?", text, re.DOTALL
    )
    if match is None or r"\matrix" in match[2]:
        raise UnknownCommandError("more than a matrix")
    before = match[1].strip().removesuffix("(").removesuffix("[").strip()
    factor = None
    if before:
        factor = parse_expression("-1" if before == "-" else before.removesuffix(r"\cdot").removesuffix(r"\times"))
    cells = []
    for row in re.split(r"\\cr(?![A-Za-z])", match[2]):
        if row.strip():
            nodes = [number(0) if cell.strip() == "O" else parse_expression(cell.strip()) for cell in row.split("&")]
            cells.append([Node("product", (factor, node)) for node in nodes] if factor is not None else nodes)
    if not cells:
        raise ParseError("an empty matrix")
    return cells
