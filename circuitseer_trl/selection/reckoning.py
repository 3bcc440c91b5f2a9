"""What would a larger pool of such rows cost? Reckoned from what a dry run measures on a few rows."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.pool.row_shards import ROWS_PER_SHARD
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.selection.cost import StepCost, duration

RECKONED_ROWS = (10**6, 10**7, 10**8, 10**9)
NUM_READ_ROWS = 4096


@dataclass(frozen=True)
class Reckoned:
    """What a pool of `num_rows` rows would cost.

    Attributes:
        num_rows: Rows of the pool.
        hours: Of one process, all steps together.
        num_files: Files of scores.
        num_bytes: Their bytes.
    """

    num_rows: int
    hours: float
    num_files: int
    num_bytes: float


def reckon(costs: Sequence[StepCost], num_rows: int) -> Reckoned:
    """The time of a step grows with the rows that it takes; those of probe and candidates do not grow with the pool."""
    seconds = sum(cost.seconds * min(num_rows, cost.max_rows or num_rows) / cost.num_rows for cost in costs)
    sizes = [cost.file_size for cost in costs if cost.file_size is not None]
    num_files = math.ceil(num_rows / ROWS_PER_SHARD) * len(sizes)
    num_bytes = sum(num_files * size.per_file + num_rows * size.per_row for size in sizes)
    return Reckoned(num_rows, seconds / 3600, num_files, num_bytes)


def seconds_to_read(pool: Pool) -> float:
    """Seconds a row to read the pool and to hash it, timed on its first rows."""
    sample = pool.subset(range(min(NUM_READ_ROWS, len(pool))))
    started = time.perf_counter()
    _ = sample.fingerprint
    return (time.perf_counter() - started) / len(sample)


def size_text(num_bytes: float) -> str:
    power = min(int(math.log10(max(num_bytes, 1)) // 3), 5)
    return f"{num_bytes / 1000**power:.1f} {('bytes', 'kB', 'MB', 'GB', 'TB', 'PB')[power]}"


def reckoning(costs: Sequence[StepCost], pool: Pool, price_per_hour: float | None = None) -> str:
    """A table of larger pools, and above it what was measured.

    Args:
        costs: What the dry run found for this pool.
        pool: The pool.
        price_per_hour: Dollars an hour of one process, with its GPU if it has one.
    """
    unit = "GPU-hours" if torch.cuda.is_available() else "process-hours"
    read = seconds_to_read(pool)
    measured = [f"{cost.step} {cost.seconds / cost.num_rows:.2g} s a row" for cost in costs]
    measured.append(f"reading and hashing the pool {read:.2g} s a row")
    for cost in costs:
        if cost.file_size is not None:
            measured.append(f"files of {cost.step} {cost.file_size.per_row:.0f} bytes a row")
    heading = ["rows", unit, *(["dollars"] if price_per_hour is not None else []), "files", "bytes", "reading"]
    rows = []
    for each in (reckon(costs, num_rows) for num_rows in RECKONED_ROWS):
        price = [] if price_per_hour is None else [f"{each.hours * price_per_hour:,.2f}"]
        files = [f"{each.num_files:,}", size_text(each.num_bytes)] if each.num_files else ["-", "-"]
        rows.append([f"{each.num_rows:,}", f"{each.hours:,.1f}", *price, *files, duration(each.num_rows * read)])
    beside = f"{unit} and dollars" if price_per_hour is not None else unit
    lines = [
        f"\nMeasured on rows of this pool: {', '.join(measured)}.",
        f"Reckoned for pools of such rows: {beside} of the steps above, the files of scores, and the time in which every process "
        "reads the pool, which comes on top. Drawing and training are not reckoned.",
        text_table(heading, rows),
    ]
    if any(cost.step == "heads" and cost.num_rows == len(pool) for cost in costs):
        lines.append(
            "The probe takes all rows of this pool. The response losses that `probe_strategy: max_loss` needs of a "
            "larger one are not reckoned: give a larger sample."
        )
    return "\n".join(lines)
