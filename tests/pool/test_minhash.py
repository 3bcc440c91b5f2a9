"""Near-duplicates of a large pool: what MinHash misses, and that all it finds is true."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool import cleaning, sorted_pairs
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.pool.minhash import Bands, hashed_near_duplicates
from circuitseer_trl.pool.sorted_pairs import SortedPairs
from tests.helpers.dirty_texts import brute_force_duplicates, grams, some_texts


def found_in(texts: list[str], similarity: float, batch_size: int = 100) -> dict[int, int]:
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    return hashed_near_duplicates(batches, len(texts), similarity, texts.__getitem__)


def test_pairs_come_sorted_and_no_key_is_in_two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sorted_pairs, "PAIRS_PER_FILE", 20)
    chance = np.random.default_rng(0)
    keys, values = chance.integers(2**64, size=200, dtype=np.uint64), chance.integers(50, size=200)
    keys[100:] = keys[:100]
    keys[7], keys[8] = 0, 2**64 - 1
    pairs = SortedPairs(tmp_path, num_pairs=200, num_keys=2**64)
    for part in np.split(np.arange(200), 3 * [0] + [66, 150]):
        pairs.add(keys[part], values[part])
    parts = [list(zip(*(each.tolist() for each in part), strict=True)) for part in pairs.parts()]
    assert len(parts) > 5
    assert [pair for part in parts for pair in part] == sorted(zip(keys.tolist(), values.tolist(), strict=True))
    assert sum(len({key for key, _ in part}) for part in parts) == len(set(keys.tolist()))


def test_bands_by_hand():
    # 0.8^5 = 0.32768; 0.67232^18 = 0.00079 and 0.67232^17 = 0.00117. Bands of 6 would take 23 * 6 = 138 values.
    assert Bands.for_similarity(0.8) == Bands(5, 18)
    assert Bands.for_similarity(1.0).number == 1
    # 0.5^2 = 0.25; 0.75^25 = 0.00075 and 0.75^24 = 0.00100 (above). Bands of 3 would take 52 * 3 = 156 values.
    assert Bands.for_similarity(0.5) == Bands(2, 25)


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 1.0])
def test_found_are_those_of_comparing_all_pairs(similarity: float):
    pytest.importorskip("rensa")
    texts = some_texts(250, seed=3)
    found, expected = found_in(texts, similarity), brute_force_duplicates(texts, similarity)
    for place, first in found.items():
        own, other = grams(texts[place], 5), grams(texts[first], 5)
        assert first < place
        assert first not in found
        assert Fraction(len(own & other), len(own | other)) >= Fraction(str(similarity))
    assert found == expected  # none is missed here


def test_neither_batches_nor_files_matter(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("rensa")
    texts = some_texts(150, seed=4)
    expected = found_in(texts, 0.6)
    assert expected
    monkeypatch.setattr(sorted_pairs, "PAIRS_PER_FILE", 64)
    assert found_in(texts, 0.6, batch_size=7) == expected
    assert found_in([*texts, "", "?"], 0.6, batch_size=150) == expected
    assert found_in(["", "?"], 0.6) == {}


def test_a_large_pool_is_cleaned_as_a_small_one(tmp_path: Path, dirty: PoolConfig, monkeypatch: pytest.MonkeyPatch):
    exact = pool_from_config(dirty)
    monkeypatch.setattr(cleaning, "MAX_EXACT_ROWS", 5)
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"`dedup_similarity` for more than 5 rows needs rensa, .* 'circuitseer-trl\[dedup\]'"
    ):
        pool_from_config(dirty)
    monkeypatch.undo()
    pytest.importorskip("rensa")
    monkeypatch.setattr(cleaning, "MAX_EXACT_ROWS", 5)
    hashed = pool_from_config(dirty)
    assert hashed.dropped.to_dict() == exact.dropped.to_dict()
    assert hashed.fingerprint == exact.fingerprint
