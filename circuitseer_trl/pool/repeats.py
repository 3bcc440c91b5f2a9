"""Which rows have a name that an earlier row has? Found without all names in memory."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from circuitseer_trl.pool.sorted_pairs import SortedPairs


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
    start = 0
    with tempfile.TemporaryDirectory() as folder:
        hashes = SortedPairs(Path(folder), num_pairs=num_rows, num_keys=2**64)
        for batch in batches:
            keys = np.fromiter(map(hash, batch), np.int64, len(batch)).view(np.uint64)
            hashes.add(keys, np.arange(start, start + len(batch)))
            start += len(batch)
        for keys, rows in hashes.parts():
            equal = keys[1:] == keys[:-1]
            places += rows[1:][equal].tolist() + rows[:-1][equal].tolist()
    places = sorted(set(places))
    names = names_at(places) if places else []
    counts, seen, found = Counter(names), Counter[str](), {}
    for place, name in zip(places, names, strict=True):  # other names may have the same hash
        if counts[name] > 1:
            found[place] = seen[name]
            seen[name] += 1
    return found
