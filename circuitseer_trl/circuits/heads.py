"""Which heads matter? The importance of every query head, and the reasoning heads selected by it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from circuitseer_trl.artifacts import library_versions, sealed, table_fingerprint, write_card, write_table
from circuitseer_trl.circuits.attention import Head, check_attention, configured_grid
from circuitseer_trl.circuits.attribution import head_attributions
from circuitseer_trl.circuits.contrast import Contrast, check_parts, marked_difficulty
from circuitseer_trl.circuits.head_card import first_layer_warning, read_heads_card, values_of
from circuitseer_trl.circuits.head_ranking import (
    mean_increase,
    num_selected,
    stability_card,
    standard_error,
    top_heads,
)
from circuitseer_trl.circuits.mean_outputs import outputs_instead
from circuitseer_trl.circuits.model_race import RacePlan, attributions_folder, rounding_nats, run_race
from circuitseer_trl.circuits.probe import Probe, choose_probe, probe_table
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.configs import HeadAblation, HeadDetection
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shard_folders import manifest_path, read_manifest
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.loading import local_device, resolve_dtype
from circuitseer_trl.modeling.memory import sweep_tokens
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import check_finite
from circuitseer_trl.pool.rows import Example, Pool

logger = logging.getLogger(__name__)

PAPERS_PROBE = Probe()


@dataclass(frozen=True)
class HeadSet:
    """The reasoning heads of a model, and their card.

    Attributes:
        selected: (layer, head) pairs, the most important first.
        card: The content of `heads.json`. For heads that were not detected it holds the model, the mode and the heads.
    """

    selected: list[Head]
    card: dict[str, Any]

    @property
    def importance(self) -> np.ndarray:
        """Mean increase of the response loss, in nats per token; shape `(layers, heads)`. Retrieval heads have none."""
        return np.array(self.card["importance"])

    @classmethod
    def read(cls, path: str | Path) -> "HeadSet":
        card = read_heads_card(path)
        return cls([(layer, head) for layer, head in card["selected"]], card)

    def check_model(self, reference: Reference) -> None:
        """Raises if these heads were found in another model than `reference`."""
        found, asked = self.card["model"], reference.describe()
        if found.get("fingerprint") != asked["fingerprint"]:
            raise ValueError(
                f"These heads were found in {found.get('name')} (weights {found.get('fingerprint')}), but the reference model is "
                f"{asked['name']} (weights {asked['fingerprint']}). Find the heads of the reference model, or set "
                "`reference_model` to the model of the heads. Heads of version 0.1.0, which identified models by less, are "
                "found again too."
            )
        grid = configured_grid(reference.config, reference.name)
        if any(layer >= grid[0] or head >= grid[1] for layer, head in self.selected) or any(
            each.values.shape != grid for each in values_of(self.card).values()
        ):
            raise ValueError(
                f"These heads are not those of {asked['name']}, which has {grid[0]} layers of {grid[1]} heads. Find the heads of "
                "the reference model."
            )


def planned_sweep_tokens(reference: Reference, folder: Path) -> int:
    """Rows x tokens of a sweep: the value of a killed run's shards in `folder`, or the value that fits into memory."""

    def plan() -> int:
        if (manifest := read_manifest(manifest_path(folder))) is not None:
            return manifest["made_from"]["max_tokens"]
        return sweep_tokens(reference.config, resolve_dtype(reference.dtype), local_device())

    return on_main_rank(plan)


def undetected_heads(
    reference: Reference, name: str, size: int | None = None, ratio: float = 0.05, seed: int = 0
) -> HeadSet:
    """Returns the heads of the ablations in Table 2: all query heads, or a random draw of them.

    Args:
        name: `all` or `random`.
        size: Number of random heads; None is the number that `ratio` selects.
    """
    num_layers, num_heads = configured_grid(reference.config, reference.name)
    heads = [(layer, head) for layer in range(num_layers) for head in range(num_heads)]
    card: dict[str, Any] = {"model": reference.describe(), "mode": name}
    if name == "random":
        drawn = np.random.default_rng(seed).choice(len(heads), size or num_selected(len(heads), ratio), replace=False)
        heads = [heads[index] for index in sorted(drawn.tolist())]
        card["seed"] = seed
    return HeadSet(heads, card | {"selected": [list(head) for head in heads]})


def increase_matrix(
    table: pa.Table, uids: Sequence[str], grid: tuple[int, int], column: str = "loss_increase"
) -> np.ndarray:
    """A column by example and head, of shape `(examples, heads)`, in the order of `uids`; NaN for what was not evaluated."""
    place = {uid: index for index, uid in enumerate(uids)}
    rows = np.array([place[uid] for uid in table["uid"].to_pylist()])
    result = np.full((len(uids), grid[0] * grid[1]), np.nan)
    result[rows, table["layer"].to_numpy() * grid[1] + table["head"].to_numpy()] = table[column].to_numpy()
    return result


def encoded_probe(probe: Sequence[Example], reference: Reference) -> list[EncodedExample]:
    """Encodes the probe. Raises if truncation leaves an example without a token of its solution."""
    encoded = reference.encode(probe)
    unanswered = [item.uid for item in encoded if item.num_completion_tokens == 0]
    if unanswered:
        raise ValueError(
            f"{len(unanswered)} probe examples have no token of their solution within {reference.max_tokens} tokens, for "
            f"instance {unanswered[:3]}. Raise `reference_max_length`, or set `probe_strategy: max_loss`."
        )
    return encoded


@dataclass(frozen=True)
class ProbeWork:
    """What is computed of each probe example, by its index.

    Attributes:
        max_tokens: Rows x tokens of a sweep.
        outputs: What a silenced head gives, as in `ablate`; None makes its attention undifferentiated.
    """

    reference: Reference
    encoded: Sequence[EncodedExample]
    max_tokens: int
    outputs: np.ndarray | None = None

    def sweep(self, index: int, heads: Sequence[Head]) -> pa.Table:
        """The loss increases of some heads."""
        model, item = self.reference.checked_model(self.encoded), self.encoded[index]
        outputs = None if self.outputs is None else torch.from_numpy(self.outputs)
        return head_loss_increases(model, item, heads, self.max_tokens, outputs).table(item.uid, heads)

    def attribute(self, index: int) -> pa.Table:
        """The base loss and the first-order reach of all heads."""
        model, item = self.reference.checked_model(self.encoded), self.encoded[index]
        return head_attributions(model, item).table(item.uid)


def find_heads(
    pool: Pool,
    reference: Reference,
    output_dir: str | Path,
    probe: Probe = PAPERS_PROBE,
    head_ratio: float = 0.05,
    head_detection: HeadDetection = "exact",
    contrast: Contrast | None = None,
    ablation: HeadAblation = "uniform",
) -> HeadSet:
    """Finds the reasoning heads of a model (CircuitSeer, equations 2 and 3).

    The importance of a head is the increase of the mean response loss, averaged over the probe, when the head's attention is
    replaced by undifferentiated attention. Every rank of a launch calls this; each probe example is a shard of the folder
    `importance/`. With `head_detection="race"`, heads that are surely not among the best are not evaluated on the whole probe.
    With `contrast`, heads are selected by it in place of their importance. `ablation` takes the place of a head: `uniform`
    attention, an output of `zero`, or its `mean` output over the tokens of the whole probe (both ours).

    Returns:
        The heads. `heads.json`, `importance.parquet` and `probe.parquet` are written to `output_dir`.
    """
    started = time.monotonic()
    output_dir = Path(output_dir)
    grid = configured_grid(reference.config, reference.name)
    reference.require(check_attention)
    examples = choose_probe(pool, reference, output_dir, probe)
    encoded = encoded_probe(examples, reference)
    if contrast is not None:
        contrast.check_probe(examples)
    probe_card: dict[str, Any] = {
        "strategy": probe.strategy,
        "size": len(examples),
        "format": reference.text_format,
        "system_prompt": reference.system_prompt,
        "chat_date": reference.chat_date,
        "truncated": sum(item.truncated for item in encoded),
        "seed": probe.seed,
    }
    if probe.candidates is not None and probe.candidates < len(pool):
        probe_card["candidates"] = probe.candidates  # the probe is the hardest of these random rows, not of the pool

    everything = [(layer, head) for layer in range(grid[0]) for head in range(grid[1])]
    size = num_selected(len(everything), head_ratio)
    importance_folder = output_dir / "importance"
    max_tokens = planned_sweep_tokens(
        reference, importance_folder if head_detection == "exact" else attributions_folder(output_dir)
    )

    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        "probe": probe_card | {"uids": [item.uid for item in encoded]},
        "max_tokens": max_tokens,
    }
    if ablation != "uniform":
        made_from["ablation"] = ablation
    outputs = outputs_instead(ablation, reference, encoded, made_from, output_dir / "head_means")
    measured = ProbeWork(reference, encoded, max_tokens, outputs)
    raced = None
    if head_detection == "race":
        uids, lengths = [item.uid for item in encoded], [len(item.input_ids) for item in encoded]
        plan = RacePlan(uids, lengths, grid, size, probe.seed, rounding_nats(resolve_dtype(reference.dtype)))
        raced = run_race(measured.sweep, measured.attribute, plan, made_from, output_dir)
        table, evaluated = raced.increases, raced.attributions  # these have the base loss of every probe example
    else:
        table = evaluated = run_shards(
            importance_folder,
            len(examples),
            made_from,
            partial(measured.sweep, heads=everything),
            "Head importance",
            uids=lambda shard: [encoded[shard].uid] * len(everything),
        ).read_all()
    bad = broken_examples(table) if raced is None else raced.left_out
    if bad:
        check_finite(len(bad), len(examples), bad[0])
        probe_card["not_finite"] = bad
        examples = [example for example in examples if example.uid not in bad]
        encoded = [item for item in encoded if item.uid not in bad]
        table = table.filter(pa.array([uid not in bad for uid in table["uid"].to_pylist()]))
    increases = increase_matrix(table, [item.uid for item in encoded], grid)
    losses = dict(zip(evaluated["uid"].to_pylist(), evaluated["base_loss"].to_pylist(), strict=True))
    base_losses = [losses[item.uid] for item in encoded]
    importance = increases.mean(axis=0).reshape(grid) if raced is None else raced.importance
    selected = top_heads(importance, size) if raced is None else raced.selected
    values, parted, difficulty = mean_increase, {}, np.array(base_losses)
    if contrast is not None:
        if contrast.part_by == "difficulty":
            difficulty = marked_difficulty(examples)
        check_parts(difficulty, contrast.part_by)
        values, parted = contrast.values, {"contrast": contrast.card(increases, difficulty, size, grid)}
        selected = top_heads(np.array(parted["contrast"]["values"]), size)
    warnings = [warning] if (warning := first_layer_warning(selected)) else []
    card = {
        "model": reference.describe(),
        "pool": pool.describe(),
        "probe": probe_card,
        "mode": head_detection,
        "ablation": ablation,
        "num_probe": len(examples),
        "head_ratio": head_ratio,
        "selected": [list(head) for head in selected],
        "base_loss": float(np.mean(base_losses)),
        "importance": importance.tolist(),
        "standard_error": standard_error(increases, grid) if raced is None else raced.standard_error,
        "stability": stability_card(increases, selected, grid, difficulty, values) if raced is None else None,
        **parted,
        "race": raced.card if raced is not None else None,
        "num_negative": int((importance < 0).sum()),
        "warnings": warnings,
        "versions": library_versions(),
        "seconds": round(time.monotonic() - started, 2),
    }
    tables = {"importance.parquet": table, "probe.parquet": probe_table(examples, encoded, base_losses)}
    card = sealed(card | {"tables": {name: table_fingerprint(each) for name, each in tables.items()}})

    def write() -> None:
        for name, each in tables.items():
            write_table(output_dir / name, each)
        pool.write_dropped(output_dir / "dropped.parquet")
        write_card(output_dir / "heads.json", card)
        for each in warnings:
            logger.warning(each)

    on_main_rank(write)
    return HeadSet(selected, card)


def broken_examples(table: pa.Table) -> list[str]:
    """uids of the probe examples on which the model's output is not finite. No head can be judged on them."""
    finite = np.isfinite(table["loss_increase"].to_numpy())
    return sorted(set(table["uid"].filter(pa.array(~finite)).to_pylist()))
