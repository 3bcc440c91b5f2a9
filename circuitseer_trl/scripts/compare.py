"""Compares selections of one pool: overlap, agreement of scores, lengths, categories and cost, as tables and as a page.

circuitseer compare runs/circuitseer runs/random length=runs/control --output comparison.html
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer compare", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="[NAME=]FOLDER", help="Folders of `select-data` or `reproduce`.")
    parser.add_argument("--output", default="comparison.html", help="The page to write.")
    options = parser.parse_args(args)
    from circuitseer_trl.artifacts import write_text
    from circuitseer_trl.drawing.text_tables import text_table
    from circuitseer_trl.pages.comparison import page, tables
    from circuitseer_trl.selection.differences import compare, read_folder

    folders = []
    for word in options.folders:
        name, given, folder = word.partition("=")
        folders.append(read_folder(word) if not given or Path(word).exists() else read_folder(folder, name))
    comparison = compare(folders)
    print("\n\n".join(f"{each.title}\n{text_table(each.heading, each.rows)}" for each in tables(comparison)))
    write_text(options.output, page(comparison))
    print(f"\nWritten to {options.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
