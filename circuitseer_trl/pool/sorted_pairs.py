"""How are pairs of numbers sorted that do not fit in memory?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

PAIRS_PER_FILE = 1 << 20
_PAIR = np.dtype([("key", np.uint64), ("value", np.int64)])


class SortedPairs:
    """Pairs of a key and a value, in files of a folder: each file has a range of keys.

    Args:
        folder: An empty folder.
        num_pairs: The largest number of pairs that may come.
        num_keys: Keys are below it. Where they are spread evenly, a file has `PAIRS_PER_FILE` pairs at most, about.
    """

    def __init__(self, folder: Path, num_pairs: int, num_keys: int):
        self.paths = [folder / str(number) for number in range(num_pairs // PAIRS_PER_FILE + 1)]
        self.keys_per_file = num_keys / len(self.paths)

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        file_of = np.minimum(keys // self.keys_per_file, len(self.paths) - 1).astype(np.int64)
        order = np.argsort(file_of, kind="stable")
        pairs = np.empty(len(keys), _PAIR)
        pairs["key"], pairs["value"] = keys[order], values[order]
        sizes = np.bincount(file_of, minlength=len(self.paths))
        for path, part in zip(self.paths, np.split(pairs, np.cumsum(sizes)[:-1]), strict=True):
            if len(part):
                with open(path, "ab") as file:
                    part.tofile(file)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Keys and values in the order of both, a part at a time. No key is in two parts."""
        for path in self.paths:
            if path.exists():
                pairs = np.fromfile(path, _PAIR)
                order = np.lexsort((pairs["value"], pairs["key"]))
                yield pairs["key"][order], pairs["value"][order]


def runs(sorted_keys: np.ndarray) -> np.ndarray:
    """The place where each run of equal keys starts."""
    return np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
