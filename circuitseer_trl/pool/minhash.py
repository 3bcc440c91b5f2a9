"""Which texts of a large pool are almost those of an earlier row? Candidates by MinHash, and each one checked."""

import functools
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuitseer_trl.pool.near_duplicates import DEDUP_NGRAM_SIZE, is_similar
from circuitseer_trl.pool.sorted_pairs import SortedPairs, runs
from circuitseer_trl.pool.word_ngrams import ngram_set

HASH_SEED = 1
MAX_HASHES = 128
MISSED_AT_THRESHOLD = 1e-3  # share of the pairs of exactly the similarity asked for that no band finds
NUM_CACHED_SETS = 4096  # n-grams of rows that candidates are compared with


@dataclass(frozen=True)
class Bands:
    """How many MinHash values of a text make a band, and how many bands a text has.

    Texts of the Jaccard similarity s share a band with a chance of 1 - (1 - s^size)^number (Leskovec et al., Mining of
    Massive Datasets, section 3.4).
    """

    size: int
    number: int

    @classmethod
    def for_similarity(cls, similarity: float) -> "Bands":
        """The largest bands that miss `MISSED_AT_THRESHOLD` at most. Larger bands bring fewer candidates to check."""

        def needed(size: int) -> int:
            shared = similarity**size
            return 1 if shared == 1 else math.ceil(math.log(MISSED_AT_THRESHOLD) / math.log1p(-shared))

        return max(
            (cls(size, needed(size)) for size in range(1, 17) if size == 1 or size * needed(size) <= MAX_HASHES),
            key=lambda bands: bands.size,
        )


def hashed_near_duplicates(
    batches: Iterable[Sequence[str]], num_texts: int, similarity: float, text_at: Callable[[int], str]
) -> dict[int, int]:
    """What `near_duplicates` finds, but for few pairs that share no band of MinHash values.

    Every pair that is found is compared exactly, so each dropped text is similar to an earlier one that stays. Bands wait on
    disk. In memory are 8 bytes for each band that several texts have.

    Args:
        batches: The texts in their order, some at a time.
        num_texts: Number of all texts.
        similarity: As in `near_duplicates`.
        text_at: Gives the text at a place.
    """
    bands = Bands.for_similarity(similarity)
    most = num_texts * bands.number
    with tempfile.TemporaryDirectory() as by_band, tempfile.TemporaryDirectory() as by_text:
        of_bands = SortedPairs(Path(by_band), num_pairs=most, num_keys=2**64)
        of_texts = SortedPairs(Path(by_text), num_pairs=most, num_keys=num_texts)
        for keys, places in _band_keys(batches, bands):
            of_bands.add(keys, places)
        return _checked(of_texts, _share_groups(of_bands, of_texts), similarity, text_at)


def _band_keys(batches: Iterable[Sequence[str]], bands: Bands) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each batch a number for every band of every text, and the text's place. A text without words has no band."""
    from rensa import RMinHash

    chance = np.random.default_rng(HASH_SEED)
    factors = chance.integers(2**63, size=bands.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = chance.integers(2**63, size=bands.number, dtype=np.uint64)
    start = 0
    for texts in batches:
        sets = [ngram_set(text, DEDUP_NGRAM_SIZE) for text in texts]
        places = np.flatnonzero([bool(each) for each in sets])
        if len(places):
            digests = RMinHash.digest_matrix_from_token_sets(
                [list(sets[place]) for place in places], bands.size * bands.number, HASH_SEED
            )
            values = np.array(digests.to_rows(), np.uint64).reshape(len(places), bands.number, bands.size)
            keys = (values * factors).sum(axis=2) + offsets
            yield keys.ravel(), np.repeat(start + places, bands.number)
        start += len(texts)


def _share_groups(of_bands: SortedPairs, of_texts: SortedPairs) -> int:
    """Numbers the bands that several texts have, gives each text the numbers of its own, and says how many there are."""
    num_groups = 0
    for keys, places in of_bands.parts():
        starts = runs(keys)
        sizes = np.diff(starts, append=len(keys))
        shared = sizes > 1
        numbers = num_groups - 1 + np.cumsum(shared)
        of_texts.add(places[np.repeat(shared, sizes)].astype(np.uint64), np.repeat(numbers[shared], sizes[shared]))
        num_groups += int(shared.sum())
    return num_groups


def _checked(
    of_texts: SortedPairs, num_groups: int, similarity: float, text_at: Callable[[int], str]
) -> dict[int, int]:
    """Compares each text with the earlier ones that stay and share a band with it, the first ones first."""

    @functools.lru_cache(NUM_CACHED_SETS)
    def ngrams(place: int) -> frozenset[str]:
        return ngram_set(text_at(place), DEDUP_NGRAM_SIZE)

    found: dict[int, int] = {}
    first_of = np.full(num_groups, -1)  # of the texts that stay
    others_of: defaultdict[int, list[int]] = defaultdict(list)
    for texts, groups in of_texts.parts():
        starts = runs(texts)
        for place, own in zip(texts[starts].tolist(), np.split(groups, starts[1:]), strict=True):
            earlier = set(first_of[own].tolist()) - {-1}
            earlier.update(*(others_of[group] for group in own.tolist() if group in others_of))
            for other in sorted(earlier):
                left, right = ngrams(place), ngrams(other)
                if is_similar(len(left & right), len(left), len(right), similarity):
                    found[place] = other
                    break
            else:
                for group in own[first_of[own] >= 0].tolist():
                    others_of[group].append(place)
                first_of[own[first_of[own] < 0]] = place
    return found
