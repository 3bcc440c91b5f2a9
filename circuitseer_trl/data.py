"""The pool: every dataset becomes rows of a problem and a worked solution, each with a name of its own."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.sharding import process_state
from circuitseer_trl.sources import read_dataset

POOL_COLUMNS = {
    "row": "int64",
    "uid": "string",
    "problem": "string",
    "completion": "string",
    "category": "string",
    "difficulty": "float64",
    "reason": "string",
}
NUMBER = re.compile(r"-?\d+(\.\d+)?")
GSM8K_ANSWER = re.compile(r"\n?####\s*(.+?)\s*$")
GSM8K_CALCULATION = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class Example:
    """One usable row of the pool."""

    row: int  # position in the dataset as it was given
    uid: str
    problem: str
    completion: str
    category: str | None = None
    difficulty: float | None = None


class Pool:
    """The usable rows of a dataset, and apart from them the dropped rows with the reason for each.

    Attributes:
        examples: Dataset of the usable rows, with the fields of `Example`, in the order given.
        dropped: Dataset of the rows that cannot be used, with a column `reason` besides.
        source: The dataset as it was given; `row` points into it.
        name: What the dataset is called on cards.
        cleaning: By what rows were dropped besides (see `clean_pool`); None where nothing was.
    """

    def __init__(
        self,
        examples: datasets.Dataset,
        dropped: datasets.Dataset,
        source: datasets.Dataset,
        name: str,
        cleaning: dict[str, Any] | None = None,
    ):
        self.examples, self.dropped, self.source, self.name, self.cleaning = examples, dropped, source, name, cleaning

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return Example(**self.examples[index])

    def __iter__(self) -> Iterator[Example]:
        return (Example(**row) for row in self.examples)

    def take(self, indices: Iterable[int]) -> list[Example]:
        """The examples at the given positions among the usable rows."""
        return [Example(**row) for row in self.examples.select(list(indices))]

    @cached_property
    def uids(self) -> list[str]:
        return list(self.examples["uid"])

    @cached_property
    def rows(self) -> np.ndarray:
        return np.asarray(self.examples["row"], dtype=np.int64)

    @cached_property
    def difficulty(self) -> np.ndarray | None:
        """Difficulty of each row, NaN where it has none; None for a pool without difficulties."""
        values = np.array(self.examples["difficulty"], dtype=np.float64)
        return values if np.isfinite(values).any() else None

    def subset(self, indices: Iterable[int]) -> "Pool":
        """A pool of the usable rows at the given positions."""
        return Pool(self.examples.select(list(indices)), self.dropped, self.source, self.name, self.cleaning)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any name or text of any usable row, and with their order; no score depends on the difficulty."""
        digest = hashlib.blake2b(digest_size=8)
        for example in self:
            for text in (example.uid, example.problem, example.completion, example.category or ""):
                digest.update(f"{len(text)}:".encode() + text.encode())
        return digest.hexdigest()

    def dropped_counts(self) -> dict[str, int]:
        return dict(sorted(Counter(self.dropped["reason"]).items()))

    def describe(self) -> dict[str, Any]:
        """What a card says of the pool."""
        return {
            "dataset": self.name,
            "fingerprint": self.fingerprint,
            "num_rows": len(self.source),
            "num_usable": len(self),
            "dropped": self.dropped_counts(),
            **({"cleaning": self.cleaning} if self.cleaning else {}),
        }

    def write_dropped(self, path: str | Path) -> None:
        """Writes the dropped rows with their reasons as one Parquet file."""
        table = self.dropped.with_format("arrow")[:] if len(self.dropped) else pa.table({"row": [], "reason": []})
        write_table(path, table.replace_schema_metadata(None))


def message_text(value: Any, role: str) -> str | None:
    """The text of a column: the text itself, or the one message of `role` in a list of chat messages (else None)."""
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        texts = [message["content"] for message in value if message.get("role") == role]
        return texts[0] if len(texts) == 1 else None
    return value


def plain_answer(text: str) -> str:
    """Turns a GSM8K answer into a worked solution: no `<<48/2=24>>`, and a boxed result in place of `#### 24`."""
    match = GSM8K_ANSWER.search(text)
    if match is None or "\\boxed" in text:
        return text
    return GSM8K_CALCULATION.sub("", text[: match.start()]) + f"\n\\boxed{{{match[1].replace(',', '')}}}"


def usable_text(row: dict[str, Any], prompt_column: str, completion_column: str, correct_column: str) -> dict[str, str]:
    """Problem, completion and, where the row cannot be used, the reason (else an empty one)."""
    problem, completion = message_text(row[prompt_column], "user"), row[completion_column]
    if isinstance(completion, list) and not any(isinstance(part, dict) for part in completion):
        marks = row.get(correct_column) or []
        completion = next((trace for trace, correct in zip(completion, marks, strict=False) if correct), None)
        if completion is None:
            return {"problem": problem or "", "completion": "", "reason": "no trace marked correct"}
    else:
        completion = message_text(completion, "assistant")
    if problem is None or not str(problem).strip():
        reason = "no problem" if problem is None or problem == "" else "blank problem"
        return {"problem": "", "completion": str(completion or ""), "reason": reason}
    if completion is None or not str(completion).strip():
        return {"problem": str(problem), "completion": "", "reason": "no completion"}
    return {"problem": str(problem), "completion": plain_answer(str(completion)), "reason": ""}


def difficulty_number(value: Any) -> float | None:
    """The number of a mark of difficulty: 5, "5", or MATH's "Level 5"; None where there is no number."""
    match = NUMBER.search(str(value))
    return float(match[0]) if match else None


def content_uid(problem: str, completion: str) -> str:
    """Names a row by what it says: 16 hexadecimal digits of a hash of problem and completion."""
    return hashlib.blake2b(f"{len(problem)}:{problem}{completion}".encode(), digest_size=8).hexdigest()


def _normalise(batch: dict[str, list[Any]], rows: list[int], columns: dict[str, str | None]) -> dict[str, list[Any]]:
    """One batch of the dataset in the pool's columns; a function of module level, so that `datasets` can cache it."""
    names = list(batch)
    output: dict[str, list[Any]] = {key: [] for key in POOL_COLUMNS}
    for row, values in zip(rows, zip(*batch.values(), strict=True), strict=True):
        record = dict(zip(names, values, strict=True))
        text = usable_text(record, columns["prompt"], columns["completion"], columns["correct"])  # type: ignore[arg-type]
        uid = record[columns["id"]] if columns["id"] else content_uid(text["problem"], text["completion"])
        category = record[columns["category"]] if columns["category"] else None
        for key, value in {
            "row": row,
            "uid": str(uid),
            "category": None if category is None else str(category),
            "difficulty": difficulty_number(record[columns["difficulty"]]) if columns["difficulty"] else None,
        }.items():
            output[key].append(value)
        for key, value in text.items():
            output[key].append(value)
    return output


def build_pool(
    dataset: datasets.Dataset,
    *,
    name: str = "dataset",
    prompt_column: str = "problem",
    completion_column: str = "solution",
    correct_column: str = "correctness_math_verify",
    id_column: str | None = None,
    category_column: str | None = None,
    difficulty_column: str | None = None,
) -> Pool:
    """Makes a pool of a dataset; the columns are those of `PoolConfig`.

    Rows without a problem or completion, chats of more than one turn, and lists of traces of which none is marked correct
    are dropped with a reason. Rows of equal content share a hash; later ones get `-2`, `-3`, ... after it.

    Raises:
        ValueError: No such column, an id used twice, or no usable row.
    """
    if isinstance(dataset, datasets.IterableDataset):
        raise ValueError(
            "The pool is a streaming dataset, whose rows have no position. Load it without `streaming=True`."
        )
    for key, column in {
        "prompt_column": prompt_column,
        "completion_column": completion_column,
        "id_column": id_column,
        "category_column": category_column,
        "difficulty_column": difficulty_column,
    }.items():
        if column is not None and column not in dataset.column_names:
            raise ValueError(
                f"The pool has no column {column!r} (`{key}`); its columns are {', '.join(dataset.column_names)}."
            )
    if len(dataset) == 0:
        raise ValueError(f"The pool {name} is empty.")
    columns = {
        "prompt": prompt_column,
        "completion": completion_column,
        "correct": correct_column,
        "id": id_column,
        "category": category_column,
        "difficulty": difficulty_column,
    }
    features = datasets.Features({key: datasets.Value(kind) for key, kind in POOL_COLUMNS.items()})
    needed = dataset.select_columns([c for c in dict.fromkeys(columns.values()) if c in dataset.column_names])
    with process_state().main_process_first():
        rows = needed.map(
            _normalise,
            batched=True,
            with_indices=True,
            fn_kwargs={"columns": columns},
            remove_columns=needed.column_names,
            features=features,
        )
    reasons = np.asarray(rows["reason"])
    usable = rows.select(np.flatnonzero(reasons == "")).remove_columns("reason")
    if len(usable) == 0:
        counts = ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons.tolist()).items())
        raise ValueError(
            f"No row of the pool {name} can be used: {counts}. Check `prompt_column` and `completion_column`."
        )
    usable = _with_distinct_uids(usable, id_column)
    return Pool(usable, rows.select(np.flatnonzero(reasons != "")), dataset, name)


def _with_distinct_uids(usable: datasets.Dataset, id_column: str | None) -> datasets.Dataset:
    uids = list(usable["uid"])
    counts = Counter(uids)
    if len(counts) == len(uids):
        return usable
    if id_column is not None:
        twice = [uid for uid, count in counts.items() if count > 1]
        raise ValueError(
            f"Column {id_column!r} (`id_column`) does not name the rows: {len(twice)} values stand in more than one row, "
            f"for instance {twice[:3]}. Leave it out to name rows by their content."
        )
    seen: Counter[str] = Counter()
    distinct = []
    for uid in uids:
        seen[uid] += 1
        distinct.append(uid if seen[uid] == 1 else f"{uid}-{seen[uid]}")
    return usable.remove_columns("uid").add_column("uid", distinct)


def load_pool(
    dataset_name: str,
    dataset_config: str | None = None,
    dataset_split: str = "train",
    dataset_revision: str | None = None,
    **columns: Any,
) -> Pool:
    """Reads a dataset and makes a pool of it; `columns` are those of `build_pool`."""
    with process_state().main_process_first():
        dataset = read_dataset(dataset_name, dataset_config, dataset_split, dataset_revision)
    return build_pool(dataset, name=os.fspath(dataset_name), **columns)


def conversation(problem: str, completion: str, system_prompt: str) -> dict[str, list[dict[str, str]]]:
    """A row in TRL's conversational prompt/completion form, of which the loss covers the answer alone."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return {
        "prompt": [*system, {"role": "user", "content": problem}],
        "completion": [{"role": "assistant", "content": completion}],
    }
