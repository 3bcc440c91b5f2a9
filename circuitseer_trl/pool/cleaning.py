"""Which rows must leave the pool before scoring? Copies of other rows, and problems of benchmarks."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np

from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.texts import texts_of

DEDUP_NGRAM_SIZE = 5  # words, as in FineWeb's search for near-duplicates (Penedo et al. 2024)
TEXT_COLUMNS = ("problem", "question", "prompt")
# A Chinese character counts as a word: some benchmarks are in Chinese, which has no spaces.
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def word_ngrams(texts: Sequence[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    """All runs of `size` words as numbers, which are equal where the words are equal, and the position of each run's text.

    Words are lower-cased runs of letters or digits; punctuation and signs are left out. A text of fewer words is one run,
    which equals only the same whole text. A text without words has no run.
    """
    vocabulary: dict[str, int] = {}
    words: list[int] = []
    owners: list[int] = []
    for owner, text in enumerate(texts):
        found = [vocabulary.setdefault(word, len(vocabulary) + 1) for word in WORD.findall(text.lower())]
        if found:
            words += found + [0] * (size - len(found))
            owners += [owner] * max(size, len(found))
    if not words:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    word, owner_of = np.array(words), np.array(owners)
    # Each pair of (k-gram, next word) gets a number of its own, which makes (k + 1)-grams. Unlike a hash this is exact.
    grams, num_grams = word, len(words) - size + 1
    for step in range(1, size):
        pairs = grams[: len(words) - step] * (len(vocabulary) + 1) + word[step:]
        grams = np.unique(pairs, return_inverse=True)[1]
    within = owner_of[:num_grams] == owner_of[size - 1 :]
    return grams[:num_grams][within], owner_of[:num_grams][within]


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
        # Rounding must neither lose a pair nor add one: 0.7 * 10 is above 7 in binary.
        prefix = own[: len(own) - math.ceil(similarity * len(own) - 1e-9) + 1].tolist() if len(own) else []
        for earlier in sorted({other for gram in prefix for other in having[gram]}):
            common = len(np.intersect1d(own, sets[earlier], assume_unique=True))
            if common >= similarity * (len(own) + len(sets[earlier]) - common) - 1e-9:
                found[position] = earlier
                break
        else:
            for gram in prefix:
                having[gram].append(position)
    return found


def overlapping(texts: Sequence[str], others: Sequence[str], size: int) -> dict[int, int]:
    """Positions of texts that share a run of `size` words with one of `others`, and the position of the first of those."""
    grams, owners = word_ngrams([*others, *texts], size)
    known, first = np.unique(grams[owners < len(others)], return_index=True)
    where = np.searchsorted(known, grams)
    shared = (owners >= len(others)) & np.isin(grams, known)
    found: dict[int, int] = {}
    for text, other in zip(owners[shared].tolist(), owners[first[where[shared]]].tolist(), strict=True):
        found[text - len(others)] = min(other, found.get(text - len(others), other))
    return found


def read_texts(source: Mapping[str, Any]) -> list[str]:
    """The texts of a dataset to keep out of the pool: those of `column`, or else of `problem`, `question` or `prompt`."""
    dataset = read_dataset(
        source["dataset_name"],
        source.get("dataset_config"),
        source.get("dataset_split", "test"),
        source.get("dataset_revision"),
    )
    named = source.get("column")
    column = next((name for name in ([named] if named else TEXT_COLUMNS) if name in dataset.column_names), None)
    if column is None:
        raise ValueError(
            f"{source['dataset_name']} (`decontaminate_against`) has no column {named or ' or '.join(TEXT_COLUMNS)}; its columns "
            f"are {', '.join(dataset.column_names)}. Set `column` to one of them."
        )
    return texts_of(dataset, column, source["dataset_name"])


def clean_pool(
    pool: Pool, dedup_similarity: float | None, decontaminate_against: Sequence[Mapping[str, Any]], ngram_size: int
) -> Pool:
    """The pool without rows whose problem overlaps one of a benchmark, and without near-duplicates of its other rows.

    The texts and their order alone decide which rows are dropped. They join the other dropped rows, with the benchmark's
    row or the row that stays as `detail`. Of near-duplicates the first one stays.

    Args:
        pool: The pool to clean.
        dedup_similarity: As in `near_duplicates`; None keeps near-duplicates.
        decontaminate_against: Datasets as in `PoolConfig`.
        ngram_size: As in `overlapping`.

    Raises:
        ValueError: No row is left.
    """
    if dedup_similarity is None and not decontaminate_against:
        return pool

    def find() -> dict[int, tuple[str, str]]:
        problems = list(pool.examples["problem"])
        texts, of = list[str](), list[tuple[str, int]]()
        for source in decontaminate_against:
            read = read_texts(source)
            texts += read
            of += [(source["dataset_name"], row) for row in range(len(read))]
        dropped: dict[int, tuple[str, str]] = {}
        for position, other in overlapping(problems, texts, ngram_size).items():
            dropped[position] = f"overlaps {of[other][0]}", f"{of[other][0]} row {of[other][1]}"
        rest = [position for position in range(len(problems)) if position not in dropped]
        if dedup_similarity is not None:
            twins = near_duplicates([problems[position] for position in rest], dedup_similarity)
            for later, first in twins.items():
                dropped[rest[later]] = ("near-duplicate", f"of {pool.uids[rest[first]]}")
        return dropped

    dropped = on_main_rank(find)
    kept = [position for position in range(len(pool)) if position not in dropped]
    if not kept:
        raise ValueError(
            f"No row of the pool {pool.name} is left: all {len(pool)} overlap the datasets of `decontaminate_against`. Check "
            "that the pool is not one of them."
        )
    order = sorted(dropped)
    details = {"reason": [dropped[position][0] for position in order], "detail": [dropped[p][1] for p in order]}
    gone = pool.examples.select(order).to_dict() | details
    before = pool.dropped.to_dict() | {"detail": [None] * len(pool.dropped)}
    features = datasets.Features({**pool.dropped.features, "detail": datasets.Value("string")})
    merged = {name: [*before[name], *gone[name]] for name in features}
    by_row = sorted(range(len(merged["row"])), key=lambda index: merged["row"][index])
    table = {name: [values[index] for index in by_row] for name, values in merged.items()}
    cleaning = {
        "dedup_similarity": dedup_similarity,
        "decontaminate_against": [dict(source) for source in decontaminate_against],
        "ngram_size": ngram_size,
    }
    return Pool(
        pool.examples.select(kept),
        datasets.Dataset.from_dict(table, features=features),
        pool.source,
        pool.name,
        cleaning,
    )
