"""Cuts normalised answers into their parts: lists, brackets, relations, matrices, plus-minus."""

import re

from eval.expressions import Node, ParseError, parse_expression

_RELATION = re.compile(r"\\(?:le|ge|ne|in|approx|equiv|sim)(?![A-Za-z])|[=<>]")
_SEPARATOR = re.compile(r"[,;]|\\and(?![A-Za-z])")
_MAX_EXPANDED = 16


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


def split_top_level(text: str) -> list[str]:
    """Parts between commas, semicolons and "and" that are in no brackets."""
    depths, parts, start = _scan(text), [], 0
    for match in _SEPARATOR.finditer(text):
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


def expand_signs(text: str) -> list[str]:
    """`1 \\pm 2` as `1 + 2` and `1 - 2`; all signs of one text change together."""
    if r"\pm" not in text and r"\mp" not in text:
        return [text]
    return [
        re.sub(r"\\pm(?![A-Za-z])", upper, re.sub(r"\\mp(?![A-Za-z])", lower, text))
        for upper, lower in (("+", "-"), ("-", "+"))
    ]


def matrix_cells(text: str) -> list[list[Node]] | None:
    """Cells of a matrix, a factor before it multiplied in; `None` for anything else."""
    match = re.fullmatch(r"(.*?)\(?\s*\[?\\matrix (.*?)\\endmatrix\s*\]?\s*\)?", text.strip(), re.DOTALL)
    if match is None or r"\matrix" in match[2]:
        return None
    before = match[1].strip().removesuffix("(").removesuffix("[").strip()
    before = re.sub(r"^[^=]*=", "", before).strip()
    factor = None
    if before:
        factor = parse_expression("-1" if before == "-" else before.removesuffix(r"\cdot").removesuffix(r"\times"))
    rows = []
    for row in re.split(r"\\cr(?![A-Za-z])", match[2]):
        if row.strip():
            cells = [parse_expression(cell.strip()) for cell in row.split("&")]
            rows.append([Node("product", (factor, cell)) for cell in cells] if factor is not None else cells)
    if not rows:
        raise ParseError("an empty matrix")
    return rows
