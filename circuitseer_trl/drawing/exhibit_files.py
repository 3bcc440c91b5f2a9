"""Which files are made of tables and figures? Each is written in every format that it has, under its name."""

import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from circuitseer_trl.artifacts import atomic_path
from circuitseer_trl.drawing.exhibits import Exhibit, Table
from circuitseer_trl.drawing.figure_data import figure_table
from circuitseer_trl.drawing.table_files import table_csv, table_latex, table_markdown
from circuitseer_trl.extras import require_extra
from circuitseer_trl.terminal import visible

# A figure has its numbers as CSV, too.
TABLE_FORMATS = {"csv": table_csv, "md": table_markdown, "tex": table_latex}
FIGURE_FORMATS = ("svg", "png")
FORMATS = (*TABLE_FORMATS, *FIGURE_FORMATS)


def check_formats(formats: Sequence[str]) -> None:
    """Raises where a format is unknown, or needs a package that is not installed."""
    if unknown := [each for each in formats if each not in FORMATS]:
        raise ValueError(f"`formats` must be among {', '.join(FORMATS)}, got {', '.join(unknown)}.")
    if figures := [each for each in FIGURE_FORMATS if each in formats]:
        require_extra("plots", f"`--formats {' '.join(figures)}`", "matplotlib")


def write_exhibits(exhibits: Sequence[Exhibit], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes the files, such as `results.csv`, and returns their paths. The same exhibits give the same bytes."""
    check_formats(formats)
    paths = []
    named = list(zip(_stems(exhibits), exhibits, strict=True))
    for stem, exhibit in tqdm(named, desc="Tables and figures", unit="exhibit", leave=False, disable=None):
        for form in formats:
            content = _content(exhibit, form)
            if content is not None:
                paths.append(folder / f"{stem}.{form}")
                with atomic_path(paths[-1]) as path:
                    path.write_bytes(content)
    return paths


def _content(exhibit: Exhibit, form: str) -> bytes | None:
    """The file's content without control characters; None if there is no such file of this exhibit."""
    if isinstance(exhibit, Table):
        return visible(TABLE_FORMATS[form](exhibit)).encode() if form in TABLE_FORMATS else None
    if form == "csv":
        return visible(table_csv(figure_table(exhibit))).encode()
    if form not in FIGURE_FORMATS:
        return None
    from circuitseer_trl.drawing.plots import plot

    content = plot(exhibit, form)
    return visible(content.decode()).encode() if form == "svg" else content


def _stems(exhibits: Sequence[Exhibit]) -> list[str]:
    """Names of files, each once. Names may have parts that users chose."""
    stems = list[str]()
    for exhibit in exhibits:
        stem = name = re.sub(r"[^\w.-]+", "-", exhibit.name).strip("-.") or "exhibit"
        number = 1
        while stem in stems:
            number += 1
            stem = f"{name}-{number}"
        stems.append(stem)
    return stems
