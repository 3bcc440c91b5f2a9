"""Which heads are a model's retrieval heads? Those that copy most of the answers of key-value probes."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import library_versions, sealed, table_fingerprint, write_card, write_table
from circuitseer_trl.circuits.attention import check_attention, configured_grid
from circuitseer_trl.circuits.head_card import first_layer_warning
from circuitseer_trl.circuits.head_ranking import (
    mean_increase,
    num_selected,
    stability_card,
    standard_error,
    top_heads,
)
from circuitseer_trl.circuits.heads import HeadSet, increase_matrix
from circuitseer_trl.circuits.retrieval import RetrievalProbes, head_copies
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import check_finite
from circuitseer_trl.pool.rows import Pool

logger = logging.getLogger(__name__)

# Below it, a model seldom gives the answer. Wu et al. count a test only if half of the needle's words are in the answer.
MIN_PREDICTED = 0.5


@dataclass(frozen=True)
class RetrievalWork:
    """What is computed of each probe, by its index."""

    reference: Reference
    probes: RetrievalProbes

    def copies(self, index: int) -> pa.Table:
        probe = self.probes.make(self.reference.tokenizer, index)
        return head_copies(self.reference.checked_model([probe.encoded]), probe).table(probe.encoded.uid)


def fitting_probes(probes: RetrievalProbes, reference: Reference) -> RetrievalProbes:
    """The same probes, no longer than what the model reads."""
    return replace(probes, max_tokens=min(probes.max_tokens, reference.max_tokens))


def find_retrieval_heads(
    pool: Pool,
    reference: Reference,
    output_dir: str | Path,
    probes: RetrievalProbes,
    head_ratio: float = 0.05,
) -> HeadSet:
    """Finds the heads that copy the largest share of the answers of key-value probes. No row of the pool is read.

    Every rank of a launch calls this; each probe is a shard of the folder `retrieval/`.

    Returns:
        The heads. `heads.json` and `retrieval.parquet` are written to `output_dir`.

    Raises:
        ValueError: A probe does not fit into the model, its attention cannot be read, or fewer heads copy anything than
            `head_ratio` asks for.
    """
    started = time.monotonic()
    output_dir = Path(output_dir)
    grid = configured_grid(reference.config, reference.name)
    reference.require(check_attention)
    probes = fitting_probes(probes, reference)
    num_pairs = probes.make(reference.tokenizer, 0).num_pairs  # raises before the model is loaded
    table = run_shards(
        output_dir / "retrieval",
        probes.size,
        {"model": reference.describe(), "probes": asdict(probes)},
        RetrievalWork(reference, probes).copies,
        "Retrieval heads",
        uids=lambda shard: [f"probe-{shard}"] * (grid[0] * grid[1]),
    ).read_all()
    broken = sorted(set(table["uid"].filter(pa.array(~np.isfinite(table["answer_loss_nats"].to_numpy()))).to_pylist()))
    if broken:
        check_finite(len(broken), probes.size, broken[0])
        table = table.filter(pa.array([uid not in broken for uid in table["uid"].to_pylist()]))
    uids = list(dict.fromkeys(table["uid"].to_pylist()))
    copied = increase_matrix(table, uids, grid, "copied_ratio")
    values, size = copied.mean(axis=0).reshape(grid), num_selected(grid[0] * grid[1], head_ratio)
    if (copying := int((values > 0).sum())) < size:
        raise ValueError(
            f"Only {copying} heads of {reference.name} copy anything on {len(uids)} retrieval probes, and `head_ratio: "
            f"{head_ratio}` asks for {size}. Lower `head_ratio`, raise `probe_size`, or take another reference model."
        )
    selected = top_heads(values, size)
    answer_loss, predicted = (float(table[name].to_numpy().mean()) for name in ("answer_loss_nats", "predicted_ratio"))
    warnings = [warning] if (warning := first_layer_warning(selected)) else []
    if predicted < MIN_PREDICTED:
        warnings.append(
            f"The model predicts {predicted:.0%} of the tokens that the retrieval probes ask for, so it hardly retrieves, "
            "and its retrieval heads say little. Take another reference model, or `criterion: loss`."
        )
    probe_card: dict[str, Any] = {"strategy": "retrieval", "size": len(uids), "seed": probes.seed, "format": "plain"}
    if broken:
        probe_card["not_finite"] = broken
    card = {
        "model": reference.describe(),
        "pool": pool.describe(),
        "probe": probe_card,
        "mode": "exact",
        "num_probe": len(uids),
        "head_ratio": head_ratio,
        "selected": [list(head) for head in selected],
        "retrieval": {
            "meaning": "mean share of an answer's different tokens that a head copies",
            **{name: value for name, value in asdict(probes).items() if name not in ("size", "seed")},
            "num_pairs_of_first": num_pairs,
            "answer_loss_nats": answer_loss,
            "predicted_ratio": predicted,
            "values": values.tolist(),
            "standard_error": standard_error(copied, grid),
        },
        "stability": stability_card(copied, selected, grid, np.zeros(len(copied)), mean_increase),
        "warnings": warnings,
        "versions": library_versions(),
        "seconds": round(time.monotonic() - started, 2),
        "tables": {"retrieval.parquet": table_fingerprint(table)},
    }
    card = sealed(card)

    def write() -> None:
        write_table(output_dir / "retrieval.parquet", table)
        pool.write_dropped(output_dir / "dropped.parquet")
        write_card(output_dir / "heads.json", card)
        for each in warnings:
            logger.warning(each)

    on_main_rank(write)
    return HeadSet(selected, card)
