"""What will a selection cost? Runs every step on a few rows, and extrapolates."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.utils.flop_counter import FlopCounterMode

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.circuits.heads import HeadSet, configured_grid
from circuitseer_trl.circuits.model_race import sweep_cost
from circuitseer_trl.circuits.retrieval import RetrievalProbes
from circuitseer_trl.circuits.retrieval_heads import RetrievalWork, fitting_probes
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.distributed.allocator import resident_bytes, reuse_freed_memory
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.memory import KEPT_BY_A_CPU_SWEEP, activation_bytes, attribution_bytes, sweep_tokens
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, score_schema, score_table
from circuitseer_trl.selection.steps import SelectionSteps, shared_temporary_folder

# Rows from which the pool's mean length is estimated, and rows that the steps are timed on.
NUM_MEASURED_ROWS, NUM_TIMED_ROWS = 256, 16
# Number of layers that the sweep is timed on, with one head of each.
NUM_TIMED_LAYERS = 4


@dataclass(frozen=True)
class FileSize:
    """Bytes of a file of a step: those of any file, and those of each row."""

    per_file: float
    per_row: float


@dataclass(frozen=True)
class StepCost:
    """The estimated cost of a step in one process.

    Attributes:
        step: Name of the step.
        work: Description of the work, for the table.
        seconds: Wall-clock time.
        operations: Floating-point operations of matrix products and attention.
        memory_bytes: The model's weights and the activations of its forward passes; None if it is not known.
        num_rows: Number of rows that the step takes.
        max_rows: Number of rows that it takes of a larger pool; None for all of them.
        file_size: Of the files with a row for each row of the pool; None if the step writes none.
    """

    step: str
    work: str
    seconds: float
    operations: float
    memory_bytes: int | None
    num_rows: int
    max_rows: int | None = None
    file_size: FileSize | None = None


def spread_positions(pool: Pool, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))


def spread(pool: Pool, count: int) -> list[Example]:
    """Takes `count` rows, spread evenly over the pool."""
    return pool.take(spread_positions(pool, count))


def timed(work: Callable[[], object]) -> tuple[float, int]:
    """Measures seconds and operations of a piece of work. It runs twice, and the second run is timed, without loading."""
    with FlopCounterMode(display=False) as counter:
        work()
    with reuse_freed_memory():
        started = time.perf_counter()
        work()
        return time.perf_counter() - started, counter.get_total_flops()


def loss_cost(config: SelectionConfig, pool: Pool, reference: Reference) -> StepCost:
    """Estimates the computation of the response losses of the pool, or of the probe's candidates."""
    lengths = [len(item.input_ids) for item in reference.encode(spread(pool, NUM_MEASURED_ROWS))]
    encoded = reference.encode(spread(pool, NUM_TIMED_ROWS))
    encoded = [item for item in encoded if item.num_completion_tokens > 0 and item.num_prompt_tokens > 0]
    num_rows = min(config.probe_candidates or len(pool), len(pool))
    num_tokens = num_rows * float(np.mean(lengths))
    model = reference.checked_model(encoded)
    seconds, operations = timed(lambda: response_losses(model, encoded, reference.batch_tokens))
    share = num_tokens / sum(len(item.input_ids) for item in encoded)
    longest = max(reference.batch_tokens, *lengths)
    memory = model.get_memory_footprint() + longest * activation_bytes(model.config, model.dtype)
    return StepCost(
        "losses",
        f"{num_rows:,} rows, {num_tokens:,.0f} tokens",
        seconds * share,
        operations * share,
        memory,
        num_rows,
        config.probe_candidates,
    )


def heads_cost(config: SelectionConfig, pool: Pool, reference: Reference) -> StepCost:
    """Estimates the sweep over all heads on the probe. A race takes only a part of it, which is not known in advance."""
    encoded = reference.encode(spread(pool, NUM_MEASURED_ROWS))
    encoded = sorted(
        (item for item in encoded if item.num_completion_tokens > 0 and item.num_prompt_tokens > 0),
        key=lambda item: len(item.input_ids),
    )
    median = encoded[len(encoded) // 2]
    num_layers, width = configured_grid(reference.config, reference.name)
    heads = [(layer, head) for layer in range(num_layers) for head in range(width)]
    some = [(int(layer), 0) for layer in np.unique(np.linspace(0, num_layers - 1, NUM_TIMED_LAYERS).astype(int))]
    model = reference.checked_model(encoded)
    seconds, operations = timed(lambda: head_loss_increases(model, median, some))
    size = min(config.probe_size, len(pool))
    num_tokens = size * float(np.mean([len(item.input_ids) for item in encoded]))
    share = num_tokens * sweep_cost(heads, num_layers) / (len(median.input_ids) * sweep_cost(some, num_layers))
    held = max(sweep_tokens(model.config, model.dtype, model.device), 2 * len(encoded[-1].input_ids))
    kept = 1 if model.device.type == "cuda" else KEPT_BY_A_CPU_SWEEP
    working = kept * held * activation_bytes(model.config, model.dtype)
    if config.head_detection == "race":
        working = max(working, attribution_bytes(model.config, model.dtype, len(encoded[-1].input_ids)))
    at_most = "at most " if config.head_detection == "race" else ""
    return StepCost(
        "heads",
        f"{at_most}{len(heads)} heads on {size} examples of {num_tokens / size:,.0f} tokens",
        seconds * share,
        operations * share,
        model.get_memory_footprint() + working,
        size,
        config.probe_size,
    )


def retrieval_cost(config: SelectionConfig, reference: Reference) -> StepCost:
    """Estimates the forwards on key-value probes, by one of them."""
    work = RetrievalWork(
        reference, fitting_probes(RetrievalProbes(config.probe_size, seed=config.head_seed), reference)
    )
    seconds, operations = timed(lambda: work.copies(0))
    model, num_tokens = reference.model(), len(work.probes.make(reference.tokenizer, 0).encoded.input_ids)
    return StepCost(
        "heads",
        f"{config.probe_size} key-value probes of {num_tokens:,} tokens",
        seconds * config.probe_size,
        operations * config.probe_size,
        model.get_memory_footprint() + num_tokens * activation_bytes(model.config, model.dtype),
        config.probe_size,
        config.probe_size,
    )


def scores_cost(steps: SelectionSteps, pool: Pool) -> StepCost:
    """Estimates the scores of the pool, with the scorer's fit.

    The heads are not known yet. One head of the last layer takes their place, so that the forward passes run through all
    layers.
    """
    scorer, reference = steps.parts.scorer, steps.reference
    rows = spread(pool, NUM_TIMED_ROWS)
    sample = pool.subset(spread_positions(pool, NUM_TIMED_ROWS))
    heads = None
    if scorer.needs == "heads" and reference is not None:
        heads = HeadSet([(configured_grid(reference.config, reference.name)[0] - 1, 0)], {})
    bound = scorer.attach(reference, heads)  # without `check`, which expects the whole pool

    results: list[Row] = []

    def work() -> None:
        with shared_temporary_folder() as folder:
            bound.fit(sample, Path(folder))
            results[:] = bound.score_batch(rows)

    seconds, operations = timed(work)

    def characters(examples: list[Example]) -> float:
        return float(np.mean([len(example.problem) + len(example.completion) for example in examples]))

    share = len(pool) / len(rows) * characters(spread(pool, NUM_MEASURED_ROWS)) / characters(rows)
    memory = None
    if reference is not None and scorer.needs not in ("text", "gradients"):
        model = reference.model(for_scores=not scorer.reads_losses)
        memory = model.get_memory_footprint() + reference.batch_tokens * activation_bytes(model.config, model.dtype)
    return StepCost(
        "scores",
        f"{len(pool):,} rows",
        seconds * share,
        operations * share,
        memory,
        len(pool),
        file_size=size_of_files(score_table(rows, results, score_schema(bound))),
    )


def size_of_files(table: pa.Table) -> FileSize:
    """Measures a file of half of the rows and one of all, since a file's first rows need more bytes than the others."""

    def size(part: pa.Table, path: Path) -> int:
        write_table(path, part)
        return path.stat().st_size

    half = len(table) // 2
    with tempfile.TemporaryDirectory() as folder:
        first, full = size(table[:half], Path(folder) / "first"), size(table, Path(folder) / "full")
    per_row = (full - first) / (len(table) - half)
    return FileSize(full - per_row * len(table), per_row)


def estimate_heads(config: SelectionConfig, pool: Pool, reference: Reference) -> list[StepCost]:
    """Estimates the cost of finding the heads. Every rank runs the same work."""
    if config.criterion == "retrieval":
        return [retrieval_cost(config, reference)]
    costs = [heads_cost(config, pool, reference)]
    if config.probe_strategy == "max_loss" and config.probe_size < len(pool):
        costs.insert(0, loss_cost(config, pool, reference))
    return costs


def estimate(steps: SelectionSteps, pool: Pool) -> list[StepCost]:
    """Estimates the cost of a selection. Every rank runs the same work."""
    steps.check(pool)
    costs = []
    if steps.needs_detection and steps.reference is not None:
        costs = estimate_heads(steps.config, pool, steps.reference)
    return [*costs, scores_cost(steps, pool)]


def cost_table(costs: list[StepCost]) -> str:
    """Formats the costs as a table, with their sum."""
    lines = [f"{'step':8}{'work':58}{'operations':>12}{'memory':>10}{'time':>10}"]
    for cost in costs:
        memory = f"{cost.memory_bytes / 1e9:.1f} GB" if cost.memory_bytes is not None else "-"
        lines.append(f"{cost.step:8}{cost.work:58}{cost.operations:12.1e}{memory:>10}{duration(cost.seconds):>10}")
    total = sum(cost.seconds for cost in costs)
    lines.append(f"Together about {duration(total)} in one process like this one. Each process needs the memory.")
    return "\n".join(lines)


def spent(started: float) -> str:
    """Describes the cost of a run so far: time, processes and memory.

    Args:
        started: `time.monotonic()` at the start of the run.
    """
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    else:
        # On Linux `ru_maxrss` counts the memory of the program that has started this one.
        unit = 1 if sys.platform == "darwin" else 1024
        memory = resident_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    processes = process_state().num_processes
    return (
        f"Took {duration(time.monotonic() - started)} with {processes} process{'es' if processes > 1 else ''}, "
        f"{memory / 1e9:.1f} GB of memory at most."
    )


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
