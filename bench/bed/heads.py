"""Which heads do the methods of the bed score with? Found once for a base model, on a pool of its own, and kept with the rows."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from bench.bed.world import KINDS, make_rows, seed_of
from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.circuits.contrast import Contrast
from circuitseer_trl.circuits.head_ranking import top_heads
from circuitseer_trl.circuits.heads import HeadSet, find_heads
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import build_pool

HEAD_RATIO = 0.05  # the paper's


def head_file(rows_folder: Path, base: str, kind: str, replicate: int | None = None) -> Path:
    """The head sets of a base model and a kind of pool; with a number, those that were found in the pool of a replicate."""
    return rows_folder / f"heads-{base}-{kind}{'' if replicate is None else f'-{replicate:03d}'}.json"


def fresh_rows(base: str, kind: str, num_rows: int) -> datasets.Dataset:
    """Rows of a pool of their own, which no replicate has."""
    return datasets.Dataset.from_list(make_rows(KINDS[kind], num_rows, random.Random(seed_of("heads", base, kind))))


def find_head_sets(
    reference: Reference, dataset: Callable[[], datasets.Dataset], about: dict[str, Any], path: Path, scratch: Path
) -> dict[str, HeadSet]:
    """Finds the head sets of a base model on all rows of a dataset, or reads what a run has found before.

    `loss` are the paper's: the highest rise of the loss. `contrast` are those whose rise on the hardest third of the same rows
    is highest against that on the easiest. `outside_first_layer` are the paper's of the other layers.

    Args:
        dataset: Makes the rows, a random draw.
        about: What the file says about itself.
        path: The file of the head sets.
    """
    model = reference.describe()
    if not path.is_file():
        rows = dataset()
        pool = build_pool(rows.select_columns(["problem", "solution"]), name="bed heads")
        found = find_heads(pool, reference, scratch, Probe("random", len(rows)), HEAD_RATIO, contrast=Contrast())
        write_json(path, _sets(found) | {"num_rows": len(rows)} | about)
        reference.free()
    content = read_json(path)
    return {
        name: HeadSet([(layer, head) for layer, head in each["selected"]], {"model": model, "mode": name, **each})
        for name, each in content["sets"].items()
    }


def _sets(found: HeadSet) -> dict[str, Any]:
    importance, ratio = found.importance, np.array(found.card["contrast"]["values"])
    size = len(found.selected)
    outside = importance.copy()
    outside[0] = -np.inf
    values = {"loss": importance, "contrast": ratio, "outside_first_layer": outside}
    return {
        "sets": {name: {"selected": [list(head) for head in top_heads(value, size)]} for name, value in values.items()},
        "importance": np.round(importance, 6).tolist(),
        "contrast": np.round(ratio, 4).tolist(),
        "stability": found.card["stability"]["selected"],
        "settling": found.card["contrast"]["settling"],
    }
