"""What takes the place of a head's output? Zero, or its mean over all tokens of a probe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import AttentionCall, configured_grid, head_grid, head_outputs, intercept
from circuitseer_trl.configs import HeadAblation
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states
from circuitseer_trl.modeling.reference import Reference

# L layers, H query heads, D head dimension


@torch.no_grad()
def output_sums(model: PreTrainedModel, ids: Sequence[int]) -> np.ndarray:
    """The sum of each head's output over the tokens of a text; float64 of shape `(L, H, D)`."""
    check_ready(model)
    sums: dict[int, np.ndarray] = {}

    def attend(layer: int, call: AttentionCall, kernel: Callable[[torch.Tensor], Any]) -> Any:
        result = kernel(call.query)
        sums[layer] = head_outputs(call, result)[0].double().sum(dim=0).cpu().numpy()
        return result

    layers = range(head_grid(model)[0])
    with intercept(model, layers, attend):
        last_hidden_states(model, torch.tensor([list(ids)], device=model.device))
    return np.stack([sums[layer] for layer in layers])


@dataclass(frozen=True)
class OutputWork:
    """What is computed of each probe example, by its index."""

    reference: Reference
    encoded: Sequence[EncodedExample]

    def sums(self, index: int) -> pa.Table:
        item = self.encoded[index]
        found = output_sums(self.reference.checked_model(self.encoded), item.input_ids)
        return pa.table({"uid": [item.uid], "sums": pa.array([found.ravel()], pa.list_(pa.float64()))})


def outputs_instead(
    ablation: HeadAblation,
    reference: Reference,
    encoded: Sequence[EncodedExample],
    made_from: dict[str, Any],
    folder: Path,
) -> np.ndarray | None:
    """What a silenced head gives at every token: 0, of shape `(L, H, 1)`, or its mean over the probe, of shape `(L, H, D)`.

    It is None for `uniform`, which changes the attention. The mean is over all tokens of the probe, prompts and solutions. Every
    token counts once, so long examples count more. Examples whose outputs are not finite are left out; they are no part of the
    importance either. Each example is a shard of the folder.
    """
    if ablation == "uniform":
        return None
    grid = configured_grid(reference.config, reference.name)
    if ablation == "zero":
        return np.zeros((*grid, 1))
    work = OutputWork(reference, encoded)
    shards = run_shards(
        folder, len(encoded), made_from, work.sums, "Mean head outputs", uids=lambda shard: [encoded[shard].uid]
    )
    total, num_tokens = np.zeros(()), 0
    for item, values in zip(encoded, shards.read_all()["sums"], strict=True):
        sums = np.array(values.as_py())
        if np.isfinite(sums).all():
            total, num_tokens = total + sums, num_tokens + len(item.input_ids)
    if num_tokens == 0:
        raise ValueError(
            f"The outputs of the heads of {reference.name} are not finite on any probe example. Check its weights."
        )
    return (total / num_tokens).reshape(*grid, -1)
