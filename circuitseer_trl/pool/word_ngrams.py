"""Which runs of words has a text?"""

import re
from collections.abc import Sequence

import numpy as np

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


def ngram_set(text: str, size: int) -> frozenset[str]:
    """The runs of words of one text, as in `word_ngrams`, each written out."""
    words = WORD.findall(text.lower())
    if not words:
        return frozenset()
    return frozenset(" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1)))
