"""Which heads matter? The importance of every query head, and the reasoning heads chosen by it."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import AutoConfig

from circuitseer_trl.artifacts import library_versions, read_json, write_card, write_table
from circuitseer_trl.circuits.probe import checked_model, choose_probe, encode_all, probe_form, probe_table
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.data import Pool
from circuitseer_trl.models import Reference, model_path
from circuitseer_trl.sharding import on_main_rank, run_shards

Head = tuple[int, int]  # layer, query head
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class HeadSet:
    """The reasoning heads of a model, with what they were chosen by.

    Attributes:
        selected: (layer, head) pairs, the most important first.
        card: The whole of `heads.json`; for heads that were not detected, only how they were chosen.
    """

    selected: list[Head]
    card: dict[str, Any]

    @property
    def importance(self) -> np.ndarray:
        """Mean increase of the response loss, in nats per token; shape `(layers, heads)`."""
        return np.array(self.card["importance"])

    @classmethod
    def read(cls, path: str | Path) -> "HeadSet":
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no {path}. `python -m circuitseer_trl.scripts.find_heads` writes it.")
        card = read_json(path)
        return cls([(layer, head) for layer, head in card["selected"]], card)

    def check_model(self, reference: Reference) -> None:
        """Raises where these heads were found in another model than `reference`."""
        found, asked = self.card["model"], reference.describe()
        if found["fingerprint"] != asked["fingerprint"]:
            raise ValueError(
                f"These heads were found in {found['name']} (weights {found['fingerprint']}), but the reference model is "
                f"{asked['name']} (weights {asked['fingerprint']}). Find the heads of this model, or score with that one."
            )


def num_selected(num_heads: int, ratio: float) -> int:
    """Share of the heads, rounded half up and at least 1; the paper leaves the rounding open."""
    return max(1, math.floor(ratio * num_heads + 0.5))


def top_heads(importance: np.ndarray, size: int) -> list[Head]:
    """The `size` most important heads, best first; ties go to the lower layer, then to the lower head."""
    order = np.argsort(-importance.ravel(), kind="stable")[:size]
    return [(int(index // importance.shape[1]), int(index % importance.shape[1])) for index in order]


def selection_stability(increases: np.ndarray, size: int, draws: int = BOOTSTRAP_DRAWS) -> np.ndarray:
    """How often each head would be selected on another probe, by bootstrap over the probe's examples.

    Args:
        increases (`np.ndarray` of shape `(examples, heads)`): Loss increase of each head on each example.

    Returns:
        `np.ndarray` of shape `(heads,)`: Share of the bootstrap draws in which the head is among the top `size`.
    """
    rng = np.random.default_rng(0)
    counts = np.zeros(increases.shape[1])
    for _ in range(draws):
        mean = increases[rng.integers(len(increases), size=len(increases))].mean(axis=0)
        counts[np.argsort(-mean, kind="stable")[:size]] += 1
    return counts / draws


def undetected_heads(
    reference: Reference, name: str, size: int | None = None, ratio: float = 0.05, seed: int = 0
) -> HeadSet:
    """The ablations of Table 2: all query heads, or a random draw of `size` (by default as many as `ratio` would select)."""
    config = AutoConfig.from_pretrained(model_path(reference.name), revision=reference.revision).get_text_config()
    heads = [(layer, head) for layer in range(config.num_hidden_layers) for head in range(config.num_attention_heads)]
    card: dict[str, Any] = {"model": reference.describe(), "mode": name}
    if name == "random":
        drawn = np.random.default_rng(seed).choice(len(heads), size or num_selected(len(heads), ratio), replace=False)
        heads = [heads[index] for index in sorted(drawn.tolist())]
        card["seed"] = seed
    return HeadSet(heads, card | {"selected": [list(head) for head in heads]})


def importance_table(uid: str, base_loss: float, increase: np.ndarray) -> pa.Table:
    layers, heads = increase.shape
    return pa.table(
        {
            "uid": [uid] * increase.size,
            "layer": pa.array(np.repeat(np.arange(layers), heads), pa.int32()),
            "head": pa.array(np.tile(np.arange(heads), layers), pa.int32()),
            "loss_increase": pa.array(increase.ravel(), pa.float64()),
            "base_loss": pa.array([base_loss] * increase.size, pa.float64()),
        }
    )


def find_heads(
    pool: Pool,
    reference: Reference,
    output_dir: str | Path,
    *,
    probe_strategy: str = "max_loss",
    probe_size: int = 300,
    probe_candidates: int | None = None,
    probe_format: str | None = None,
    head_ratio: float = 0.05,
    head_seed: int = 0,
    system_prompt: str,
    max_batch_tokens: int = 8192,
) -> HeadSet:
    """Finds the reasoning heads of a model (CircuitSeer, equations 2 and 3).

    The importance of a head is the increase of the mean response loss, averaged over the probe, when the head's attention is
    made undifferentiated. Every rank of a launch takes part; each probe example is a shard of the folder `importance/`.

    Returns:
        The heads; `heads.json`, `importance.parquet` and `probe.parquet` are in `output_dir`.
    """
    started = time.monotonic()
    output_dir = Path(output_dir)
    probe = choose_probe(
        pool,
        reference,
        output_dir,
        strategy=probe_strategy,
        size=probe_size,
        candidates=probe_candidates,
        seed=head_seed,
        form=probe_format,
        system_prompt=system_prompt,
        max_batch_tokens=max_batch_tokens,
    )
    encoded = encode_all(probe, reference, probe_format, system_prompt)
    unanswered = [item.uid for item in encoded if item.num_completion_tokens == 0]
    if unanswered:
        raise ValueError(
            f"{len(unanswered)} probe examples have no token of their solution within {reference.max_length} tokens, for "
            f"instance {unanswered[:3]}. Raise `reference_max_length`, or set `probe_strategy: max_loss`."
        )
    probe_card = {
        "strategy": probe_strategy,
        "size": len(probe),
        "format": probe_form(reference, probe_format),
        "system_prompt": system_prompt,
        "truncated": sum(item.truncated for item in encoded),
        "seed": head_seed,
    }
    if probe_candidates is not None and probe_candidates < len(pool):
        probe_card["candidates"] = probe_candidates  # the hardest of so many random rows, not of the pool

    def compute(shard: int) -> pa.Table:
        sweep = head_loss_increases(checked_model(reference, encoded[shard]), encoded[shard])
        return importance_table(encoded[shard].uid, sweep.base_loss, sweep.increase)

    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        "probe": probe_card | {"uids": [item.uid for item in encoded]},
    }
    table = run_shards(output_dir / "importance", len(probe), made_from, compute, "Head importance")
    shape = (table["layer"].to_numpy().max() + 1, table["head"].to_numpy().max() + 1)
    increases = table["loss_increase"].to_numpy().reshape(len(probe), *shape)
    base_losses = table["base_loss"].to_numpy().reshape(len(probe), -1)[:, 0]
    if not np.isfinite(increases).all():
        raise ValueError(
            f"The response loss of {reference.name} is not finite on the probe. Are its weights whole? If the dtype is "
            "float16, set `reference_dtype: float32`."
        )
    importance = increases.mean(axis=0)
    size = num_selected(importance.size, head_ratio)
    stability = selection_stability(increases.reshape(len(probe), -1), size)
    selected = top_heads(importance, size)
    spread = increases.std(axis=0, ddof=1) / math.sqrt(len(probe)) if len(probe) > 1 else np.zeros_like(importance)
    card = {
        "model": reference.describe(),
        "pool": pool.describe(),
        "probe": probe_card,
        "mode": "exact",
        "num_probe": len(probe),
        "head_ratio": head_ratio,
        "selected": [list(head) for head in selected],
        "base_loss": float(base_losses.mean()),
        "importance": importance.tolist(),
        "standard_error": spread.tolist() if len(probe) > 1 else None,
        "stability": {
            "meaning": "share of bootstrap draws over the probe in which a selected head is selected again",
            "draws": BOOTSTRAP_DRAWS,
            "selected": [round(float(stability[layer * shape[1] + head]), 3) for layer, head in selected],
            "mean_overlap": float(stability.reshape(shape)[tuple(np.array(selected).T)].mean()),
        },
        "num_negative": int((importance < 0).sum()),
        "versions": library_versions(),
        "seconds": round(time.monotonic() - started, 2),
    }

    def write() -> None:
        write_table(output_dir / "importance.parquet", table)
        write_table(output_dir / "probe.parquet", probe_table(probe, encoded, base_losses.tolist()))
        pool.write_dropped(output_dir / "dropped.parquet")
        write_card(output_dir / "heads.json", card)

    on_main_rank(write)
    return HeadSet(selected, card)
