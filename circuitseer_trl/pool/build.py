"""From a dataset to a pool: every row in the same columns, under a name of its own."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np

from circuitseer_trl.distributed.allocator import give_back_mapped_files
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.pool.converted import BATCH_ROWS, READER_VERSION
from circuitseer_trl.pool.repeats import repeated_names
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.texts import content_uid, usable_labels, usable_text

POOL_COLUMNS = {
    "row": "int64",
    "uid": "string",
    "problem": "string",
    "completion": "string",
    "category": "string",
    "difficulty": "float64",
    "reason": "string",
}


def _normalise(
    batch: dict[str, list[Any]], rows: list[int], columns: dict[str, str | None], reader_version: int
) -> dict[str, list[Any]]:
    """One batch of the dataset in the pool's columns. It is a function of the module, so that `datasets` can cache it.

    The cache knows the code of this function, but not the code that it calls: `reader_version` stands for that.
    """
    names = list(batch)
    output: dict[str, list[Any]] = {key: [] for key in POOL_COLUMNS}
    for row, values in zip(rows, zip(*batch.values(), strict=True), strict=True):
        record = dict(zip(names, values, strict=True))
        text = usable_text(record, columns["prompt"], columns["completion"], columns["correct"])  # type: ignore[arg-type]
        content = content_uid(text["problem"], text["completion"])
        labels = usable_labels(record, columns, content)
        for key, value in (labels | text | {"row": row, "reason": text["reason"] or labels["reason"]}).items():
            output[key].append(value)
    give_back_mapped_files()
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

    Rows without a problem or completion, chats of more than one turn, and lists of traces without a correct one are dropped
    with a reason. So are rows whose problem or completion is not text, whose id is not text or a whole number, and whose
    category or difficulty is not text or a number. Rows of equal content have the same hash; the second one gets `-2` after
    it, the third `-3`, and so on.

    Raises:
        ValueError: A column does not exist, an id stands in two rows, or no row is usable.
    """
    if isinstance(dataset, datasets.IterableDataset):
        raise ValueError(
            "The pool is a streaming dataset, and its rows have no position. Load it without `streaming=True`."
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
            batch_size=BATCH_ROWS,
            writer_batch_size=BATCH_ROWS,
            with_indices=True,
            fn_kwargs={"columns": columns, "reader_version": READER_VERSION},
            remove_columns=needed.column_names,
            features=features,
        )
    usable, dropped = _parted(rows)
    if len(usable) == 0:
        counts = ", ".join(f"{reason} ({count})" for reason, count in Counter(dropped["reason"]).items())
        raise ValueError(
            f"No row of the pool {name} can be used: {counts}. Check `prompt_column` and `completion_column`."
        )
    return Pool(_with_distinct_uids(usable, id_column), dropped, dataset, name)


def _parted(rows: datasets.Dataset) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The usable rows, without the column `reason`, and the dropped ones."""
    dropped: list[int] = []
    for start, batch in _values(rows, "reason"):
        dropped += [start + place for place, reason in enumerate(batch) if reason]
    usable = rows.remove_columns("reason")
    if dropped:  # the places of the others take 8 bytes a row
        usable = usable.select(np.delete(np.arange(len(rows)), dropped))
    return usable, rows.select(dropped)


def _values(rows: datasets.Dataset, column: str) -> Iterator[tuple[int, list[Any]]]:
    """The values of a column, some at a time, with the place of the first."""
    view = rows.select_columns([column]).with_format("arrow")
    for start in range(0, len(rows), BATCH_ROWS):
        yield start, view[start : start + BATCH_ROWS][column].to_pylist()
        give_back_mapped_files()


def _with_distinct_uids(usable: datasets.Dataset, id_column: str | None) -> datasets.Dataset:
    uids = usable.select_columns(["uid"]).with_format("arrow")
    repeated = repeated_names(
        (batch for _, batch in _values(usable, "uid")), len(usable), lambda places: uids[places]["uid"].to_pylist()
    )
    if not repeated:
        return usable
    if id_column is not None:
        twice = uids[[place for place, before in repeated.items() if before == 0]]["uid"].to_pylist()
        raise ValueError(
            f"Column {id_column!r} (`id_column`) does not identify the rows: {len(twice)} values stand in more than one row, "
            f"for instance {twice[:3]}. Leave `id_column` out to name rows by their content."
        )
    later = {place: before + 1 for place, before in repeated.items() if before > 0}
    return usable.map(
        _renamed,
        batched=True,
        with_indices=True,
        input_columns=["uid"],
        fn_kwargs={"later": later},
        features=usable.features,
    )


def _renamed(uids: list[str], rows: list[int], later: dict[int, int]) -> dict[str, list[str]]:
    return {"uid": [f"{uid}-{later[row]}" if row in later else uid for uid, row in zip(uids, rows, strict=True)]}


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
