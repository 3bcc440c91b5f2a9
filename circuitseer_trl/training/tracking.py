"""What was selected, on Weights & Biases: one run that holds the selection and the training on it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import wandb
from trl import SFTConfig

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.data import Pool

PROJECT = "circuitseer"
FILES = ("selection.parquet", "selection.json", "heads.json", "importance.parquet", "scores.json", "dropped.parquet")
PIXELS = 12  # a cell of the heat map; a model has tens of layers and heads
MAX_TEXT = 500  # characters of a problem in a table


def is_tracked(args: SFTConfig) -> bool:
    return "wandb" in args.report_to


def start_run(
    args: SFTConfig, *, project: str | None = None, entity: str | None = None, group: str | None = None
) -> None:
    """Starts the run, on the main process and before the selection; the trainer goes on with it.

    Args:
        project: W&B project; by default that of `WANDB_PROJECT`, or circuitseer.
        entity: W&B user or team.
        group: Name that ties together the runs of one comparison.
    """
    if is_tracked(args) and args.process_index == 0 and wandb.run is None:
        wandb.init(
            project=project or os.environ.get("WANDB_PROJECT", PROJECT),
            entity=entity,
            group=group,
            job_type="train",
            name=args.run_name,
        )


def heat_map(importance: np.ndarray) -> np.ndarray:
    """A picture of layers x heads, enlarged: red where ablation raises the loss, blue where it lowers it."""
    largest = np.abs(importance).max() or 1.0
    share = importance / largest
    red, blue = np.clip(share, 0, 1), np.clip(-share, 0, 1)
    colours = np.stack([1 - blue, 1 - red - blue, 1 - red], axis=-1)
    picture = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    return picture.repeat(PIXELS, axis=0).repeat(PIXELS, axis=1)


def head_panels(heads: dict[str, Any]) -> dict[str, Any]:
    """The importance of every head as a picture and as a table; of heads that were not detected, nothing."""
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


def extremes(scores: pa.Table, selected: set[str], pool: Pool, num_rows: int) -> wandb.Table:
    """The rows of the highest and the lowest scores, with their problems."""
    values = scores["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order])]
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
    """Logs a selection's folder to the run; does nothing where there is no run.

    What the folder does not hold (heads for a method without them, scores of a selection that was copied alone) is left
    out. The figures are no time series: they go with the first step.

    Args:
        num_rows: How many of the highest and of the lowest scores to show.
    """
    run, folder = wandb.run, Path(folder)
    if run is None:
        return
    card = read_json(folder / "selection.json")
    chosen = read_table(folder / "selection.parquet")
    run.config.update({"selection": card}, allow_val_change=True)
    panels: dict[str, Any] = {"selection/scores_selected": wandb.Histogram(finite(chosen["score"]))}
    if (folder / "scores").is_dir():
        scores = read_table(folder / "scores")
        panels["selection/scores_pool"] = wandb.Histogram(finite(scores["score"]))
        panels["selection/extremes"] = extremes(scores, set(chosen["uid"].to_pylist()), pool, num_rows)
    if (folder / "heads.json").is_file():
        panels |= head_panels(read_json(folder / "heads.json"))
    run.log(panels, commit=False)

    run.summary["selection/num_selected"] = len(chosen)
    for name in ("heads", "scores"):
        if (folder / f"{name}.json").is_file() and "seconds" in (step := read_json(folder / f"{name}.json")):
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
