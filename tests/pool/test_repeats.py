"""Names that stand in several rows are found as a plain count finds them, in any number of parts."""

import random
from collections import Counter

import pytest

from circuitseer_trl.pool import repeats, sorted_pairs
from circuitseer_trl.pool.repeats import repeated_names


@pytest.mark.parametrize("pairs_per_file", [3, 64, 1 << 20])
def test_equals_a_plain_count(monkeypatch: pytest.MonkeyPatch, pairs_per_file: int):
    monkeypatch.setattr(sorted_pairs, "PAIRS_PER_FILE", pairs_per_file)
    rng = random.Random(0)
    names = [f"n{rng.randrange(300)}" for _ in range(400)]
    batches = [names[start : start + 7] for start in range(0, 400, 7)]
    found = repeated_names(batches, len(names), lambda places: [names[place] for place in places])
    counts, seen, expected = Counter(names), Counter(), {}
    for place, name in enumerate(names):
        if counts[name] > 1:
            expected[place] = seen[name]
        seen[name] += 1
    assert found == expected
    assert list(found) == sorted(found)


def test_equal_hashes_of_other_names_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repeats, "hash", lambda name: len(name), raising=False)
    names = ["aa", "bb", "a", "aa"]
    assert repeated_names([names], 4, lambda places: [names[place] for place in places]) == {0: 0, 3: 1}


def test_no_names():
    assert repeated_names([], 0, lambda places: []) == {}
