"""Which examples are the heads judged on? The probe: the hardest rows of the pool, or a random draw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.configs import ProbeStrategy
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS, pool_losses
from circuitseer_trl.pool.rows import Example, Pool


@dataclass(frozen=True)
class Probe:
    """The settings of the probe. The defaults are the paper's.

    Attributes:
        strategy: `max_loss` takes the rows with the highest response loss; `random` draws rows.
        size: Number of rows.
        candidates: Number of rows, drawn by `seed`, whose loss is computed, in the folder `candidates/`; None takes all rows.
        seed: Seed of random probes, of candidates, and of the order of a race.
    """

    strategy: ProbeStrategy = "max_loss"
    size: int = 300
    candidates: int | None = None
    seed: int = 0


def hardest(losses: pa.Table, size: int) -> np.ndarray:
    """Positions of the `size` rows with the highest mean loss, highest first; ties go to the earlier row.

    Truncated rows with fewer than 16 tokens of the completion left are not taken.
    """
    loss = losses["loss_nats"].to_numpy()
    tokens, truncated = losses["num_completion_tokens"].to_numpy(), losses["truncated"].to_numpy()
    eligible = np.flatnonzero(np.isfinite(loss) & (~truncated | (tokens >= MIN_TRUNCATED_TOKENS)))
    if len(eligible) == 0:
        raise ValueError(
            "No row of the pool has a finite response loss. Are the model's weights complete, and is `reference_max_length` "
            "large enough?"
        )
    return eligible[np.lexsort((eligible, -loss[eligible]))][:size]


def choose_probe(pool: Pool, reference: Reference, output_dir: str | Path, probe: Probe) -> list[Example]:
    """Chooses the probe examples. If `size` is the pool's size or more, it takes the whole pool in its order."""
    if probe.size >= len(pool):
        return list(pool)
    rng = np.random.default_rng(probe.seed)
    if probe.strategy == "random":
        return pool.take(np.sort(rng.choice(len(pool), probe.size, replace=False)))
    output_dir = Path(output_dir)
    if probe.candidates is not None and probe.candidates < len(pool):
        # A separate folder: other steps expect the losses of the whole pool in `losses/`.
        output_dir = output_dir / "candidates"
        pool = pool.subset(np.sort(rng.choice(len(pool), probe.candidates, replace=False)))
    return pool.take(hardest(pool_losses(pool, reference, output_dir), probe.size))


def probe_table(probe: list[Example], encoded: list[EncodedExample], base_losses: list[float]) -> pa.Table:
    """Makes a table of the probe for people to read, since the hardest rows of a pool are often broken."""
    columns: dict[str, list[Any]] = {
        "uid": [example.uid for example in probe],
        "row": [example.row for example in probe],
        "loss_nats": base_losses,
        "num_tokens": [len(item.input_ids) for item in encoded],
        "truncated": [item.truncated for item in encoded],
        "problem": [example.problem for example in probe],
        "completion": [example.completion for example in probe],
    }
    return pa.table(columns)
