"""Tables for a terminal."""

from collections.abc import Iterable, Sequence

from circuitseer_trl.drawing.exhibits import Cell


def text_table(heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table in columns of equal width, with a line under the heading."""
    lines = [list(heading), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([padded[0], "-" * max(map(len, padded)), *padded[1:]])


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell.text} {cell.change}".strip()
