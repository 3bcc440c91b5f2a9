"""How is a number written in a cell of a table?"""

from math import isfinite

from circuitseer_trl.drawing.exhibits import Number


def number_cell(value: float | None, form: str = ",.0f") -> Number:
    """A cell with a number in this format; a dash where there is none."""
    if value is None or not isfinite(value):
        return Number(None, "-")
    return Number(value, f"{value:{form}}")
