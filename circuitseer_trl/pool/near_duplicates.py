"""Which texts are almost those of an earlier row? All pairs, exactly."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from circuitseer_trl.pool.word_ngrams import word_ngrams

DEDUP_NGRAM_SIZE = 5  # words, as in FineWeb's search for near-duplicates (Penedo et al. 2024)


def is_similar(num_common: int, num_left: int, num_right: int, similarity: float) -> bool:
    """Whether two sets have at least a Jaccard similarity. Rounding must not lose a pair: 0.7 * 10 is above 7 in binary."""
    return num_common >= similarity * (num_left + num_right - num_common) - 1e-9


def near_duplicates(texts: Sequence[str], similarity: float) -> dict[int, int]:
    """Positions of texts whose word 5-grams are similar to those of an earlier text that stays, and that text's position.

    Two texts are similar at a Jaccard similarity of at least `similarity`. The search is exact, unlike MinHash: sets of
    such a similarity share one of their few rarest members (the prefix filter of Chaudhuri et al. 2006), so only pairs that
    share one are compared.
    """
    grams, owners = word_ngrams(texts, DEDUP_NGRAM_SIZE)
    distinct = np.unique(np.stack([owners, grams]), axis=1)
    counts = np.bincount(distinct[1])
    rarest_first = np.empty(len(counts), np.int64)
    rarest_first[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    sets = [np.empty(0, np.int64)] * len(texts)
    positions, starts = np.unique(distinct[0], return_index=True)
    for position, members in zip(positions.tolist(), np.split(rarest_first[distinct[1]], starts[1:]), strict=True):
        sets[position] = np.sort(members)
    found: dict[int, int] = {}
    having: defaultdict[int, list[int]] = defaultdict(list)  # for each rare n-gram the earlier texts with it
    for position, own in enumerate(sets):
        # Rounding must not lose a pair.
        prefix = own[: len(own) - math.ceil(similarity * len(own) - 1e-9) + 1].tolist() if len(own) else []
        for earlier in sorted({other for gram in prefix for other in having[gram]}):
            common = len(np.intersect1d(own, sets[earlier], assume_unique=True))
            if is_similar(common, len(own), len(sets[earlier]), similarity):
                found[position] = earlier
                break
        else:
            for gram in prefix:
                having[gram].append(position)
    return found
