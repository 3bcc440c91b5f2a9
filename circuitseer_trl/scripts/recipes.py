"""Lists, shows and copies the recipes that come with the package."""

import re
import shutil
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command
from circuitseer_trl.named_files import FOLDERS, PLAIN_KINDS, find_file, named_files

DESCRIPTION = """Lists, shows and copies the recipes that come with the package.

    circuitseer recipes                                   # their names, by kind
    circuitseer recipes show circuitseer                  # NAME, or KIND/NAME if two kinds have the name
    circuitseer recipes copy circuitseer mine.yaml        # by default to ./recipes/KIND/NAME.yaml, which then comes first
"""


def first_sentence(path: Path) -> str:
    """The first sentence of the comment at the start of a recipe."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    comment = " ".join(line.removeprefix("#").strip() for line in lines)
    return re.split(r"(?<=\.)\s", comment)[0]


def listing() -> str:
    return "\n".join(
        f"{kind}\n" + "".join(f"    {name:32s} {first_sentence(path)}\n" for name, path in named_files(kind).items())
        for kind in FOLDERS
        if named_files(kind)
    )


def find(name: str) -> Path:
    """The file of a name that is listed; where a recipe and a file of another kind have it, the recipe."""
    plain = any(name in named_files(kind) for kind in PLAIN_KINDS)
    return find_file(name, PLAIN_KINDS if plain else tuple(FOLDERS))


def copy(name: str, target: str | None) -> str:
    path = find(name)
    to = Path(target) if target else Path(FOLDERS[path.parent.name]) / path.name
    to = to / path.name if to.is_dir() else to
    if to.exists():
        raise ValueError(f"{to} already exists. Give another place: `circuitseer recipes copy {name} TO`.")
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return str(to)


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer recipes", description=DESCRIPTION)
    parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "show", "copy"), help="What to do (list)."
    )
    parser.add_argument("name", nargs="?", help="NAME or KIND/NAME of a recipe.")
    parser.add_argument("to", nargs="?", help="File or folder to copy to (./recipes/KIND/NAME.yaml).")
    options = parser.parse_args(args)
    if options.action == "list":
        print(listing())
    elif options.name is None:
        raise ValueError(f"`circuitseer recipes {options.action}` needs the name of a recipe.")
    elif options.action == "show":
        print(find(options.name).read_text(encoding="utf-8"), end="")
    else:
        print(f"Written to {copy(options.name, options.to)}")


if __name__ == "__main__":
    sys.exit(run_command(main))
