"""Which rows are trained on? Those of a selection, as prompts and completions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.modeling.encoding import chat_text
from circuitseer_trl.pool.chat import conversation, plain_prompt
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.selection.stored_selection import read_selection
from circuitseer_trl.training.selection_files import selection_files


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a pool to train on.

    Attributes:
        indices (`np.ndarray` of shape `(N,)`): Positions among the pool's usable rows, in the pool's order; a row of weight 2
            stands there twice. The trainer shuffles every epoch, so the order of the draw has no meaning.
        card: The selection's card; None for the whole pool.
        folder: The folder of the selection; None for the whole pool.
    """

    indices: np.ndarray
    card: dict[str, Any] | None = None
    folder: Path | None = None


def whole_pool(pool: Pool) -> ChosenRows:
    return ChosenRows(np.arange(len(pool)))


def read_chosen_rows(selection_file: str | Path, pool: Pool) -> ChosenRows:
    """Reads a `selection.parquet` and its card `selection.json`, and finds its rows in the pool.

    Raises:
        FileNotFoundError: The selection or its card does not exist.
        ValueError: The selection was made from another pool, or a weight is not a whole number.
    """
    path, _ = selection_files(selection_file)
    selection = read_selection(path)
    card, table, uids = selection.card, selection.table, selection.uids
    made_from, rows = card["pool"]["fingerprint"], table["row"].to_numpy()
    if made_from != pool.fingerprint:
        missing = len(set(uids) - set(pool.uids))
        raise ValueError(
            f"The selection {path} was made from another pool: its card says {made_from}, and the pool given "
            f"({pool.name}) is {pool.fingerprint}; {missing} of the selection's {len(uids)} rows are not in it. "
            "Give the data recipe that the selection was made with, or select again."
        )
    places = np.minimum(pool.places_of(rows), len(pool) - 1)
    names = [row for piece in pool.pieces(places, ["row", "uid"]) for row in piece.to_pylist()]
    if names != table.select(["row", "uid"]).to_pylist():
        raise ValueError(f"{path} has other positions in the dataset than the pool's rows. Select again.")
    weights = np.asarray(table["weight"].to_pylist(), dtype=np.float64)
    whole = np.rint(weights)
    if not np.array_equal(weights, whole) or (whole < 0).any():
        odd = next(weight for weight in weights.tolist() if weight != round(weight) or weight < 0)
        raise ValueError(
            f"The selection {path} has a weight of {odd}, but training repeats a row as often as its weight says, so "
            "weights must be whole numbers. Choose another sampler, or round them."
        )
    indices = np.repeat(places, whole.astype(np.int64))
    return ChosenRows(np.sort(indices), card, path.parent)


def _conversation(row: dict[str, Any], system_prompt: str) -> dict[str, Any]:
    return conversation(row["problem"], row["completion"], system_prompt)


def _plain(row: dict[str, Any], system_prompt: str) -> dict[str, Any]:
    return {"prompt": plain_prompt(row["problem"], system_prompt), "completion": row["completion"]}


def training_rows(pool: Pool, chosen: ChosenRows, *, chat: bool, system_prompt: str = "") -> datasets.Dataset:
    """The chosen rows in TRL's prompt-completion format, where the loss covers the completion alone.

    Args:
        chat: Whether prompt and completion are chat messages. Otherwise they are plain text: the plain form, then the
            completion, to which TRL adds the end-of-sequence token.
    """
    rows = pool.examples.select(chosen.indices)
    with process_state().main_process_first():
        return rows.map(
            _conversation if chat else _plain,
            fn_kwargs={"system_prompt": system_prompt},
            remove_columns=["row", "problem", "category"],
            desc="Building prompts",
        )


@dataclass(frozen=True)
class Lengths:
    """The lengths of rows in tokens, and the answers that `max_length` cuts.

    Attributes:
        num_tokens: Sum over the rows, before any cut.
        longest: Of the longest row.
        fully_truncated: uids of rows without a token of the answer left.
        partly_truncated: uids of rows that lose the end of the answer.
    """

    num_tokens: int
    longest: int
    fully_truncated: list[str]
    partly_truncated: list[str]

    def describe(self, num_examples: int = 10) -> dict[str, Any]:
        return {
            "num_tokens_before_cutting": self.num_tokens,
            "longest_row_tokens": self.longest,
            "num_answers_wholly_cut": len(self.fully_truncated),
            "num_answers_partly_cut": len(self.partly_truncated),
            "wholly_cut_examples": self.fully_truncated[:num_examples],
            "partly_cut_examples": self.partly_truncated[:num_examples],
        }


def _count(batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, chat: bool) -> dict[str, list[int]]:
    if chat:
        prompts = [chat_text(tokenizer, turns, add_generation_prompt=True) for turns in batch["prompt"]]
        texts = [chat_text(tokenizer, p + c) for p, c in zip(batch["prompt"], batch["completion"], strict=True)]
    else:
        prompts = batch["prompt"]
        texts = [p + c + tokenizer.eos_token for p, c in zip(prompts, batch["completion"], strict=True)]
    # The template writes the special tokens itself.
    return {
        key: [len(ids) for ids in tokenizer(values, add_special_tokens=not chat)["input_ids"]]
        for key, values in (("num_prompt_tokens", prompts), ("num_tokens", texts))
    }


def measure_lengths(
    rows: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat: bool,
    max_length: int | None,
    num_proc: int | None = None,
) -> Lengths:
    """Counts the tokens of every row before a model is loaded, because TRL cuts answers and drops rows without a warning."""
    with process_state().main_process_first():
        counts = rows.map(
            _count,
            batched=True,
            fn_kwargs={"tokenizer": tokenizer, "chat": chat},
            remove_columns=["prompt", "completion"],
            num_proc=num_proc,
            desc="Counting tokens",
        )
    limit = max_length or np.inf
    prompt, whole, uids = np.asarray(counts["num_prompt_tokens"]), np.asarray(counts["num_tokens"]), counts["uid"]
    return Lengths(
        num_tokens=int(whole.sum()),
        longest=int(whole.max()),
        fully_truncated=[uids[i] for i in np.flatnonzero(prompt >= limit)],
        partly_truncated=[uids[i] for i in np.flatnonzero((prompt < limit) & (whole > limit))],
    )
