"""What does Weights & Biases show of a selection?"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import wandb

from circuitseer_trl.distributed.shard_folders import read_shards
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.selection.examples import ranked
from circuitseer_trl.selection.step_cards import read_step_cards
from circuitseer_trl.selection.stored_selection import read_selection

FILES = (
    "selection.parquet",
    "selection.json",
    "heads.json",
    "importance.parquet",
    "retrieval.parquet",
    "scores.json",
    "dropped.parquet",
)
PIXELS = 12  # a cell of the heat map; a model has tens of layers and heads
MAX_TEXT = 500  # characters of a problem in a table


def heat_map(importance: np.ndarray) -> np.ndarray:
    """Draws layers x heads, enlarged. A head is red if its ablation raises the loss, and blue if it lowers the loss."""
    largest = np.abs(importance).max() or 1.0
    share = importance / largest
    red, blue = np.clip(share, 0, 1), np.clip(-share, 0, 1)
    colours = np.stack([1 - blue, 1 - red - blue, 1 - red], axis=-1)
    picture = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    return picture.repeat(PIXELS, axis=0).repeat(PIXELS, axis=1)


def head_panels(heads: dict[str, Any]) -> dict[str, Any]:
    """The importance of every head as a picture and as a table; empty for heads that were not detected."""
    if "importance" not in heads:
        return {}
    importance = np.array(heads["importance"])
    errors = heads["standard_error"]  # None for a probe of one example
    chosen = {tuple(head) for head in heads["selected"]}
    table = wandb.Table(columns=["layer", "head", "importance", "standard_error", "selected"])
    for layer, head in np.ndindex(importance.shape):
        table.add_data(layer, head, importance[layer, head], errors and errors[layer][head], (layer, head) in chosen)
    caption = f"rows: layers, columns: heads; full red is {np.abs(importance).max():.3g} nats per token"
    picture = wandb.Image(heat_map(importance), caption=caption)
    return {"selection/head_importance": picture, "selection/heads": table}


def length_panels(scores: pa.Table, selected: set[str]) -> dict[str, Any]:
    """Histograms of the scored texts' lengths, in the pool and in the selection; empty if the scorer reads no text."""
    chosen = scores.filter(pa.array([uid in selected for uid in scores["uid"].to_pylist()]))
    lengths = {"pool": finite(scores["num_tokens"]), "selected": finite(chosen["num_tokens"])}
    return {
        f"selection/num_tokens_{name}": wandb.Histogram(list(values)) for name, values in lengths.items() if len(values)
    }


def category_table(categories: dict[str, dict[str, int]]) -> wandb.Table:
    """Each category's share of the pool and of the selection."""
    total = {side: sum(counts[side] for counts in categories.values()) for side in ("pool", "selected")}
    table = wandb.Table(columns=["category", "pool", "selected", "pool_share", "selected_share"])
    for name, counts in categories.items():
        shares = [counts[side] / total[side] for side in ("pool", "selected")]
        table.add_data(name, counts["pool"], counts["selected"], *shares)
    return table


def extremes(scores: pa.Table, selected: set[str], pool: Pool, num_rows: int) -> wandb.Table:
    """The rows with the highest and the lowest scores, with their problems."""
    order = ranked(scores)
    shown = order if len(order) <= 2 * num_rows else np.concatenate([order[:num_rows], order[-num_rows:]])
    place = {uid: index for index, uid in enumerate(pool.uids)}
    table = wandb.Table(columns=["rank", "uid", "row", "score", "num_tokens", "selected", "problem"])
    rank = {index: position for position, index in enumerate(order.tolist())}
    for index, row in zip(shown.tolist(), scores.take(pa.array(shown)).to_pylist(), strict=True):
        problem = pool[place[row["uid"]]].problem[:MAX_TEXT]
        table.add_data(
            rank[index], row["uid"], row["row"], row["score"], row["num_tokens"], row["uid"] in selected, problem
        )
    return table


def log_selection(folder: str | Path, pool: Pool, *, num_rows: int = 20) -> None:
    """Logs a selection's folder to the current run; does nothing without a run.

    Files that the folder does not have are left out: heads of a method without heads, or scores of a copied selection. The
    figures are not a time series, so they are logged with the first step.

    Args:
        num_rows: Number of rows to show from each end of the scores.
    """
    run, folder = wandb.run, Path(folder)
    if run is None:
        return
    selection = read_selection(folder / "selection.parquet")
    card, chosen = selection.card, selection.table
    run.config.update({"selection": card}, allow_val_change=True)
    panels: dict[str, Any] = {"selection/scores_selected": wandb.Histogram(list(finite(chosen["score"])))}
    if (folder / "scores").is_dir():
        scores = read_shards(folder / "scores", "score-pool")
        panels["selection/scores_pool"] = wandb.Histogram(list(finite(scores["score"])))
        panels |= length_panels(scores, set(chosen["uid"].to_pylist()))
        panels["selection/extremes"] = extremes(scores, set(chosen["uid"].to_pylist()), pool, num_rows)
    cards = read_step_cards(folder)
    if "heads.json" in cards:
        panels |= head_panels(cards["heads.json"])
    if card.get("categories"):
        panels["selection/categories"] = category_table(card["categories"])
    run.log(panels, commit=False)

    run.summary["selection/num_selected"] = len(chosen)
    for name in ("heads", "scores"):
        if "seconds" in (step := cards.get(f"{name}.json", {})):
            run.summary[f"selection/{name}_seconds"] = step["seconds"]

    artifact = wandb.Artifact(f"selection-{card['fingerprint']}", type="selection", metadata=card)
    for file in [path for name in FILES if (path := folder / name).is_file()]:
        artifact.add_file(str(file))
    if (folder / "scores").is_dir():
        artifact.add_dir(str(folder / "scores"), name="scores")
    run.log_artifact(artifact)


def finite(column: pa.ChunkedArray) -> np.ndarray:
    values = column.to_numpy().astype(np.float64)
    return values[np.isfinite(values)]
