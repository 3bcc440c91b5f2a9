"""The bench as a page: bars of seconds, and curves of how they grow."""

from collections.abc import Iterable, Mapping

from bench.growth import Growth
from circuitseer_trl.drawing.charts import bar, figure, legend, linear_axis, log_axis, polyline, row
from circuitseer_trl.drawing.html_pages import html_page

Seconds = Mapping[str, float]


def bars(title: str, seconds: Seconds, unit: str) -> str:
    """A bar for each method."""
    axis = linear_axis([0.0, *seconds.values()])
    rows = [
        row(axis, name, bar(axis, value, series), f"{value:.3g} {unit}", series=series)
        for series, (name, value) in enumerate(seconds.items())
    ]
    return figure(axis, rows, f"{title}.")


def curves(growth: Growth, unit: str) -> str:
    """A line for each method, over the sizes; empty for a single size."""
    seconds = [value for line in growth.seconds.values() for value in line]
    if len(growth.values) < 2:
        return ""
    across, up = log_axis(growth.values[0], growth.values[-1]), log_axis(0.9 * min(seconds), 1.1 * max(seconds))
    marks = "".join(
        polyline(across, up, list(zip(growth.values, line, strict=True)), series)
        for series, line in enumerate(growth.seconds.values())
    )
    spread = f"{min(seconds):.2g} to {max(seconds):.2g} {unit}"
    caption = f"Head finding over {growth.over}; both axes are logarithmic."
    return legend(list(growth.seconds)) + figure(across, [row(across, growth.over, marks, spread, height=180)], caption)


def bench_page(groups: Mapping[str, Seconds], growth: Iterable[Growth], unit: str) -> str:
    """The page as HTML.

    Args:
        groups: Seconds of each method, by the group's title.
        growth: Measurements at several sizes.
        unit: Unit of the seconds: `s`, or `CPU-s`.
    """
    figures = [bars(title, seconds, unit) for title, seconds in groups.items()]
    return html_page("CircuitSeer bench", "".join([*figures, *(curves(item, unit) for item in growth)]))
