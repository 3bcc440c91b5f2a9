"""What can be shown? Tables and figures as data. Pages, terminals and exported files draw them, each in its own way."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Interval = tuple[float, float]


@dataclass(frozen=True)
class Number:
    """A cell with a number.

    Attributes:
        value: The number itself, which a CSV file has; None where there is none.
        text: How people read it, such as `61.1 [50.8, 70.5]`.
        change: How it differs from another number, such as `+1.4`; drawn small, with an arrow up or down.
        strong: Whether it is the best of its kind, drawn in bold.
    """

    value: float | None
    text: str
    change: str = ""
    strong: bool = False

    @property
    def arrow(self) -> str:
        """Whether the change is up or down; nothing where it is rounded to 0."""
        found = re.match(r"([+\-\u2212])[\d.,]*[1-9]", self.change)
        return "" if found is None else "\u2191" if found[1] == "+" else "\u2193"


Cell = str | Number


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Name of its file in an export, such as `results`.
        title: What it shows.
        note: How to read it, in a sentence or two.
        text_columns: Columns with long text.
    """

    name: str
    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    text_columns: Sequence[str] = ()


@dataclass(frozen=True)
class DotRow:
    """One line of a dot plot.

    Attributes:
        label: What is measured.
        value: The mean, drawn as a large dot; None for a line that was not measured.
        interval: Its ends, drawn as a line.
        dots: Single measurements, such as those of seeds, drawn as small dots.
        text: The value and what belongs to it as text.
        series: Number of its colour.
        hollow: Whether the large dot is a ring: for numbers that were not measured here, such as the paper's.
    """

    label: str
    value: float | None
    interval: Interval | None = None
    dots: Sequence[float] = ()
    text: str = ""
    series: int = 0
    hollow: bool = False


@dataclass(frozen=True)
class DotPlot:
    """Values on one axis, in groups from top to bottom.

    Attributes:
        groups: Heading and lines of each group.
        unit: Unit of the axis, such as `%`.
        signed: Whether values are differences: the axis has a line at 0 and signs.
    """

    name: str
    title: str
    groups: Sequence[tuple[str, Sequence[DotRow]]]
    note: str = ""
    unit: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Matrix:
    """A square table of values in [-1, 1] as colours, with a text in each cell: overlaps, correlations."""

    name: str
    title: str
    names: Sequence[str]
    values: Sequence[Sequence[float]]
    texts: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class HeadMap:
    """One value for each attention head, with a colour bar.

    Attributes:
        values: Layers x heads, in `unit`.
        selected: Layer and head of the selected ones, which have a frame.
        standard_errors: Layers x heads; None where there are none.
    """

    name: str
    title: str
    values: Sequence[Sequence[float]]
    selected: Sequence[tuple[int, int]]
    standard_errors: Sequence[Sequence[float]] | None = None
    note: str = ""
    unit: str = "nats per token"


@dataclass(frozen=True)
class Scatter:
    """Points in a plane.

    Attributes:
        series: x and y of the points, by the name of their group.
    """

    name: str
    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_label: str
    y_label: str
    note: str = ""
    log_x: bool = False


@dataclass(frozen=True)
class Lines:
    """Curves, such as losses over steps.

    Attributes:
        series: Name, number of the colour, and x and y of each curve. Curves of one method have one name and one colour.
    """

    name: str
    title: str
    series: Sequence[tuple[str, int, Sequence[tuple[float, float]]]]
    x_label: str
    y_label: str
    note: str = ""


@dataclass(frozen=True)
class Histogram:
    """Shares of bins, for several groups.

    Attributes:
        edges: Ends of the bins, one more than bins.
        shares: Share of each bin, by the name of the group.
        means: Mean of each group, drawn as a dashed line; `medians` as a dotted one.
    """

    name: str
    title: str
    edges: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    x_label: str
    means: Mapping[str, float] = field(default_factory=dict)
    medians: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """Lengths for categories, one bar for each group: shares of sources, results of methods.

    Attributes:
        categories: Names from left to right.
        values: One for each category, by the name of the group; None where nothing was measured.
    """

    name: str
    title: str
    categories: Sequence[str]
    values: Mapping[str, Sequence[float | None]]
    y_label: str
    note: str = ""


@dataclass(frozen=True)
class Tokens:
    """A text whose tokens are coloured by a value.

    Attributes:
        tokens: The tokens as text, with their spaces.
        values: One for each token; 1 is an even share.
        value_label: What the values are.
    """

    name: str
    title: str
    tokens: Sequence[str]
    values: Sequence[float]
    value_label: str
    note: str = ""


Figure = DotPlot | Matrix | HeadMap | Scatter | Lines | Histogram | Bars | Tokens
Exhibit = Table | Figure
