"""A step of a run: writes a file in its folder, and records that it has ended. Words: name, folder, input, file."""

import sys
from pathlib import Path

from circuitseer_trl.finished import FinishedStep


def step(name: str, folder: str, source: str) -> FinishedStep:
    return FinishedStep(name, folder, {}, [source])


if __name__ == "__main__":
    name, folder, source, product = sys.argv[1:]
    made = step(name, folder, source)
    made_from = made.made_from()
    (Path(folder) / product).write_text(Path(source).read_text())
    made.record(made_from, "", [product])
