"""Which numbers does a figure show? As a table, for those who cannot see it and for files."""

from itertools import pairwise
from math import isfinite

from circuitseer_trl.drawing.exhibits import (
    Bars,
    Cell,
    DotPlot,
    Figure,
    HeadMap,
    Histogram,
    Lines,
    Matrix,
    Number,
    Scatter,
    Table,
    Tokens,
)


def number(value: float | None) -> Number:
    known = value is not None and isfinite(value)
    return Number(value if known else None, f"{value:.4g}" if known else "-")


def figure_table(figure: Figure) -> Table:
    """The figure's numbers, one line for each mark."""
    rows: list[list[Cell]]
    if isinstance(figure, DotPlot):
        heading = ["group", "what", "mean", "low", "high", "single values"]
        rows = [
            [
                *(title, each.label, number(each.value)),
                *(number(end) for end in each.interval or (None, None)),
                " ".join(f"{dot:.4g}" for dot in each.dots),
            ]
            for title, lines in figure.groups
            for each in lines
        ]
    elif isinstance(figure, Matrix):
        heading = ["", *figure.names]
        rows = [
            [name, *(Number(value if isfinite(value) else None, text) for value, text in zip(line, texts, strict=True))]
            for name, line, texts in zip(figure.names, figure.values, figure.texts, strict=True)
        ]
    elif isinstance(figure, HeadMap):
        heading = ["layer", "head", figure.unit, "standard error", "selected"]
        chosen, errors = {tuple(head) for head in figure.selected}, figure.standard_errors
        rows = [
            [
                *(number(layer), number(head), number(value), number(errors[layer][head] if errors else None)),
                "yes" if (layer, head) in chosen else "no",
            ]
            for layer, line in enumerate(figure.values)
            for head, value in enumerate(line)
        ]
    elif isinstance(figure, Scatter):
        heading = ["group", figure.x_label, figure.y_label]
        rows = [[name, number(x), number(y)] for name, points in figure.series.items() for x, y in points]
    elif isinstance(figure, Lines):
        heading = ["curve", figure.x_label, figure.y_label]
        rows = [[name, number(x), number(y)] for name, _, points in figure.series for x, y in points]
    elif isinstance(figure, Histogram):
        heading = ["from", "to", *figure.shares]
        rows = [
            [number(left), number(right), *(number(shares[place]) for shares in figure.shares.values())]
            for place, (left, right) in enumerate(pairwise(figure.edges))
        ]
        for kind, values in (("mean", figure.means), ("median", figure.medians)):
            if values:
                rows.append([kind, "", *(number(values.get(name)) for name in figure.shares)])
    elif isinstance(figure, Tokens):
        heading = ["position", "token", figure.value_label]
        pairs = zip(figure.tokens, figure.values, strict=True)
        rows = [[number(place), token, number(value)] for place, (token, value) in enumerate(pairs)]
    else:
        assert isinstance(figure, Bars)
        heading = ["", *figure.values]
        rows = [
            [category, *(number(values[place]) for values in figure.values.values())]
            for place, category in enumerate(figure.categories)
        ]
    return Table(figure.name, figure.title, heading, rows, figure.note)
