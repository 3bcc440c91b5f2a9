"""Writes the tables and figures of a study, or of runs, as files for a paper: CSV, Markdown, LaTeX, SVG and PNG.

    circuitseer export runs/study --output_dir paper --formats csv tex svg
    circuitseer export runs/random runs/circuitseer          # differences are to the first

A table is written as CSV (with the numbers themselves), Markdown and LaTeX; a figure as SVG and PNG, and its numbers as CSV.
SVG and PNG need the extra `plots`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer export", description=__doc__)
    parser.add_argument(
        "folders", nargs="+", metavar="FOLDER", type=Path, help="Folder of a study, or folders of runs."
    )
    parser.add_argument(
        "--output_dir", metavar="DIR", type=Path, help="Where the files go (FOLDER/export of the first)."
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        default=["csv", "md", "tex", "svg", "png"],
        metavar="FORMAT",
        help="Which files to write.",
    )
    options = parser.parse_args(args)
    from circuitseer_trl.drawing.exhibit_files import check_formats, write_exhibits
    from circuitseer_trl.pages.folder_exhibits import folder_exhibits

    check_formats(options.formats)
    exhibits = folder_exhibits(options.folders)
    output_dir = options.output_dir or options.folders[0] / "export"
    paths = write_exhibits(exhibits, output_dir, list(dict.fromkeys(options.formats)))
    print(f"{len(paths)} files of {len(exhibits)} tables and figures: {output_dir}")


if __name__ == "__main__":
    sys.exit(run_command(main))
