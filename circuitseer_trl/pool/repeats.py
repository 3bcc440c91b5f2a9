"""Which rows have a name that an earlier row has? Found without all names in memory."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

ROWS_PER_BUCKET = 1 << 20
_PAIR = np.dtype([("hash", np.int64), ("place", np.int64)])


def repeated_names(
    batches: Iterable[Sequence[str]], num_rows: int, names_at: Callable[[list[int]], Sequence[str]]
) -> dict[int, int]:
    """Finds the names that stand in several rows.

    Hashes of the names are sorted, a part of them at a time, and the others wait on disk. Memory grows with the number of rows
    whose names are repeated, and not with that of all rows.

    Args:
        batches: The names in their order, some at a time.
        num_rows: Number of all names.
        names_at: Gives the names at some places.

    Returns:
        For the place of each such name how often it has stood before, in the order of the places: 0 for its first row.
    """
    places: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for bucket in _spread(batches, num_rows // ROWS_PER_BUCKET + 1, Path(folder)):
            pairs = np.sort(np.fromfile(bucket, _PAIR), order="hash")
            equal = pairs["hash"][1:] == pairs["hash"][:-1]
            places += (
                pairs["place"][np.flatnonzero(equal) + 1].tolist() + pairs["place"][np.flatnonzero(equal)].tolist()
            )
    places = sorted(set(places))
    names = names_at(places) if places else []
    counts, seen, found = Counter(names), Counter[str](), {}
    for place, name in zip(places, names, strict=True):  # other names may have the same hash
        if counts[name] > 1:
            found[place] = seen[name]
            seen[name] += 1
    return found


def _spread(batches: Iterable[Sequence[str]], num_buckets: int, folder: Path) -> list[Path]:
    """Writes pairs of hash and place into files; equal hashes are in one file."""
    paths = [folder / str(number) for number in range(num_buckets)]
    for path in paths:
        path.touch()
    start = 0
    for names in batches:
        pairs = np.empty(len(names), _PAIR)
        pairs["hash"] = np.fromiter(map(hash, names), np.int64, len(names))
        pairs["place"] = np.arange(start, start + len(names))
        start += len(names)
        of = pairs["hash"] % num_buckets
        for number, path in enumerate(paths):
            with open(path, "ab") as file:
                pairs[of == number].tofile(file)
    return paths
