"""Which problems overlap those of a benchmark?"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.texts import texts_of
from circuitseer_trl.pool.word_ngrams import WORD

TEXT_COLUMNS = ("problem", "question", "prompt")
_PADDING, _UNKNOWN = 0, -1  # numbers of no word


class KnownNgrams:
    """All runs of `size` words of some texts, as in `word_ngrams`. Memory grows with these texts alone."""

    def __init__(self, texts: Sequence[str], size: int):
        self.size = size
        self.numbers: dict[str, int] = {}
        self.first: dict[bytes, int] = {}
        for place, text in enumerate(texts):
            for word in WORD.findall(text.lower()):
                self.numbers.setdefault(word, len(self.numbers) + 1)
            for ngram in self._ngrams(text):
                self.first.setdefault(ngram, place)

    def _ngrams(self, text: str) -> list[bytes]:
        numbers = array("i", [self.numbers.get(word, _UNKNOWN) for word in WORD.findall(text.lower())])
        if not numbers:
            return []
        numbers.extend([_PADDING] * (self.size - len(numbers)))
        coded, width = numbers.tobytes(), numbers.itemsize
        return [coded[width * start : width * (start + self.size)] for start in range(len(numbers) - self.size + 1)]

    def first_shared(self, text: str) -> int | None:
        """The place of the first of the texts that shares a run of words with `text`; None if there is none."""
        return min((self.first[ngram] for ngram in self._ngrams(text) if ngram in self.first), default=None)


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
