"""Which retrieval heads did others publish? Lists of the form of Wu et al. (arXiv 2404.15574): `head_score/<model>.json`."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.circuits.attention import configured_grid
from circuitseer_trl.circuits.head_ranking import num_selected, top_heads
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.modeling.reference import Reference

logger = logging.getLogger(__name__)

NAME = re.compile(r"(0|[1-9]\d*)-(0|[1-9]\d*)", re.ASCII)  # layer and query head, both from 0


def is_retrieval_list(path: str | Path) -> bool:
    """Whether a file is such a list, and no `heads.json`. Raises if it is no JSON."""
    content = read_json(path) if Path(path).is_file() else None
    return isinstance(content, dict) and bool(content) and all(map(NAME.fullmatch, content))


def read_retrieval_list(path: str | Path, head_ratio: float = 0.05) -> HeadSet:
    """Reads a list: for each head, its retrieval scores on the tests that counted. Heads are ranked by their mean score.

    Such a file names no model. The card has the name of the file in its place, and no fingerprint.

    Raises:
        ValueError: The scores are broken, are not those of all heads of a model, or too few of them are above 0 for `head_ratio`.
    """
    path, content = Path(path), read_json(path)
    heads = {(int(name.split("-")[0]), int(name.split("-")[1])): scores for name, scores in content.items()}
    grid = (1 + max(layer for layer, _ in heads), 1 + max(head for _, head in heads))
    if len(heads) != grid[0] * grid[1]:
        raise ValueError(
            f"{path} has {len(heads)} heads, and its highest numbers are those of {grid[0]} layers of {grid[1]}, which are "
            f"{grid[0] * grid[1]}. A list of retrieval heads has every head. Take the whole file."
        )
    values, errors = np.empty(grid), np.full(grid, np.nan)
    for (layer, head), scores in heads.items():
        if not isinstance(scores, list) or not scores or not all(type(each) in (int, float) for each in scores):
            raise ValueError(f"The scores of head {layer}-{head} in {path} are no list of numbers. Take the file anew.")
        values[layer, head] = np.mean(scores)
        if len(scores) > 1:
            errors[layer, head] = np.std(scores, ddof=1) / np.sqrt(len(scores))
    if not np.isfinite(values).all():
        raise ValueError(f"{path} has a score that is not finite. Take the file anew.")
    size = num_selected(values.size, head_ratio)
    if (above := int((values > 0).sum())) < size:
        raise ValueError(
            f"{path} has {above} heads with a score above 0, and `head_ratio: {head_ratio}` asks for {size}. Lower `head_ratio`."
        )
    selected = top_heads(values, size)
    card: dict[str, Any] = {
        "model": {"name": path.stem},
        "mode": "list",
        "head_ratio": head_ratio,
        "selected": [list(head) for head in selected],
        "retrieval": {
            "meaning": "mean retrieval score over the tests of a published list",
            "num_tests": sorted({len(scores) for scores in heads.values()}),
            "values": values.tolist(),
            "standard_error": errors.tolist() if np.isfinite(errors).all() else None,
        },
    }
    return HeadSet(selected, card)


def heads_to_score_with(path: str | Path, reference: Reference, head_ratio: float) -> HeadSet:
    """The heads of a `heads.json` or of a published list, for this reference model.

    A list counts as one of the reference model if it has the model's layers and heads; a warning says so where the file has not
    the model's name.

    Raises:
        ValueError: The heads are those of another model.
    """
    if not is_retrieval_list(path):
        heads = HeadSet.read(path)
        heads.check_model(reference)
        return heads
    heads = read_retrieval_list(path, head_ratio)
    grid, model = np.shape(heads.card["retrieval"]["values"]), Path(reference.name).name
    if grid != (own := configured_grid(reference.config, reference.name)):
        raise ValueError(
            f"{path} lists {grid[0]} layers of {grid[1]} heads, and {reference.name} has {own[0]} layers of {own[1]}. Take the "
            "list of the reference model, or find its heads with `criterion: retrieval`."
        )
    if Path(path).stem.lower() != model.lower():
        logger.warning(
            "%s names no model, and its heads are taken for those of %s. If they are, name the file %s.json to be rid of this.",
            path,
            reference.name,
            model,
        )
    return HeadSet(heads.selected, heads.card | {"model": reference.describe(), "list": Path(path).name})
