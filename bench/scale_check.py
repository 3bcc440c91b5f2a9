"""A slow second way to draw by the `length` method: all rows are read plainly, and their keys are sorted."""

import hashlib
import math
from pathlib import Path

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

MASK = 2**64 - 1


def mixed(state: int) -> int:
    """SplitMix64 (Steele et al. 2014)."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def hash_of(text: str) -> "hashlib.blake2b":
    return hashlib.blake2b(text.encode(), digest_size=8)


def slow_selection(folder: Path, tokenizer: PreTrainedTokenizerBase, size: int, seed: int) -> list[str]:
    """The uids of the `size` rows with the largest log(score) + Gumbel noise, in this order. Rows must all differ.

    Args:
        folder: The pool's Parquet files.
        tokenizer: Of the reference model.
        size: How many rows are drawn.
        seed: The seed of the noise, as the card has it.
    """
    keyed: list[tuple[float, str]] = []
    for file in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            problem, solution = row["problem"], row["solution"]
            uid = hash_of(f"{len(problem)}:{problem}{solution}").hexdigest()
            bits = mixed(int.from_bytes(hash_of(uid).digest(), "little") ^ mixed(seed)) >> 11
            score = len(tokenizer(problem, add_special_tokens=False)["input_ids"])
            noise = -math.log(-math.log((bits + 0.5) * 2.0**-53))
            if score:
                keyed.append((-(math.log(score) + noise), uid))
    keyed.sort()
    return [uid for _, uid in keyed[:size]]
