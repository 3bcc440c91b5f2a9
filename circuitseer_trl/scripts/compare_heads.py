"""Compares two sets of heads: those of a base model and a fine-tuned one, of two probes, or of two criteria.

circuitseer compare-heads runs/base runs/tuned
circuitseer compare-heads loss=runs/a/heads.json contrast=runs/b/heads.json --output heads.html
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer compare-heads", description=__doc__)
    parser.add_argument(
        "heads",
        nargs=2,
        metavar="[NAME=]HEADS",
        help="A `heads.json`, a folder with one, or a published list of retrieval heads, head_score/<model>.json.",
    )
    parser.add_argument("--output", default="compare_heads.html", help="The page to write.")
    options = parser.parse_args(args)
    from circuitseer_trl.artifacts import write_text
    from circuitseer_trl.circuits.head_comparison import compare_heads, read_detected
    from circuitseer_trl.drawing.text_tables import text_table
    from circuitseer_trl.pages.head_comparison import head_page, head_tables

    names, cards = [], []
    for word in options.heads:
        name, given, path = word.partition("=")
        name, path = (word, word) if not given or Path(word).exists() else (name, path)
        names.append(name)
        cards.append(read_detected(Path(path)))
    found = compare_heads(*cards)
    tables = head_tables(cards, names, found)
    print("\n\n".join(f"{each.title}\n{text_table(each.heading, each.rows)}\n{each.note}" for each in tables))
    write_text(options.output, head_page(cards, names, found))
    print(f"\nWritten to {options.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
