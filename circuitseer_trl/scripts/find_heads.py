"""Finds the attention heads that reasoning depends on, and writes them to `heads.json`."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import UNUSED_BY_HEADS, DryRunConfig, ExecutorConfig, PoolConfig, SelectionConfig
from circuitseer_trl.distributed.finishing import say_if_finished
from circuitseer_trl.finished import SELECTION_PRODUCTS, selection_step
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import check_names

if TYPE_CHECKING:
    from circuitseer_trl.circuits.heads import HeadSet


def describe(heads: "HeadSet") -> str:
    if "retrieval" in heads.card:
        return _describe_retrieval(heads)
    layers, width = heads.importance.shape
    lines = [
        f"{len(heads.selected)} reasoning heads of {layers * width}, by {heads.card['num_probe']} probe examples "
        f"(base loss {heads.card['base_loss']:.4f} nats per token):"
    ]
    stability, race = heads.card["stability"], heads.card["race"]
    notes = [f"  selected again in {again:.0%} of draws" for again in stability["selected"]] if stability else None
    parted = heads.card.get("contrast")
    if parted:
        lines[0] = lines[0][:-2] + (
            f"), by their contrast between the {parted['num_hard']} rows of highest {parted['part_by']} and the "
            f"{parted['num_easy']} of lowest:"
        )
        notes = [
            f"  {parted['values'][layer][head]:.2f} times as much on hard rows{note}"
            for (layer, head), note in zip(heads.selected, notes or [""] * len(heads.selected), strict=True)
        ]
    if (ablation := heads.card["ablation"]) != "uniform":
        lines[0] = f"{lines[0][:-1]}, by ablation to {ablation}:"
    lines += [
        f"  layer {layer:2d} head {head:2d}  {heads.importance[layer, head]:+.4f} nats{note}"
        for (layer, head), note in zip(heads.selected, notes or [""] * len(heads.selected), strict=True)
    ]
    if race:
        chance = race["confidence"]["error"]
        sure = (
            f"the chance that it dropped a head of the top is at most {chance:.0%}" if chance else "no head was dropped"
        )
        lines.append(
            f"By a race, with {race['row_tokens_ratio']:.0%} of the work of all heads on the whole probe; {sure}."
        )
    return "\n".join(lines)


def _describe_retrieval(heads: "HeadSet") -> str:
    found, again = heads.card["retrieval"], heads.card["stability"]["selected"]
    values, many = found["values"], "" if len(heads.selected) == 1 else "s"
    lines = [
        f"{len(heads.selected)} retrieval head{many} of {sum(map(len, values))}, by {heads.card['num_probe']} texts of keys and "
        f"values (the model predicts {found['predicted_ratio']:.0%} of the answers' tokens):"
    ]
    lines += [
        f"  layer {layer:2d} head {head:2d}  copies {values[layer][head]:.1%} of an answer  selected again in {share:.0%} of "
        "draws"
        for (layer, head), share in zip(heads.selected, again, strict=True)
    ]
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    pool_config, config, run, execution = parse_recipe(
        *(PoolConfig, SelectionConfig, DryRunConfig, ExecutorConfig),
        args=args,
        prog="circuitseer find-heads",
        description=__doc__,
        kinds=SELECTION_KINDS,
        hidden=UNUSED_BY_HEADS,
    )
    check_names(pool_config, config)
    finished = selection_step("find-heads", pool_config, config)
    made_from = finished.made_from()
    if not run.dry_run and say_if_finished(finished, made_from):
        return
    from circuitseer_trl.distributed.executors import executing
    from circuitseer_trl.distributed.only_writer import check_only_writer
    from circuitseer_trl.distributed.processes import on_main_rank, say
    from circuitseer_trl.pool.load import pool_from_config
    from circuitseer_trl.selection.cost import cost_table, estimate_heads, spent
    from circuitseer_trl.selection.reckoning import reckoning
    from circuitseer_trl.selection.steps import detect_heads, reference_from_config

    reference = reference_from_config(config, pool_config.chat)
    with executing(execution):  # raises before the pool is read
        check_only_writer(config.output_dir)
        pool = pool_from_config(pool_config)
        if run.dry_run:
            costs = estimate_heads(config, pool, reference)
            say(cost_table(costs) + reckoning(costs, pool, run.price_per_hour))
            return
        heads = detect_heads(config, pool, reference)
    text = f"{describe(heads)}\nWritten to {config.output_dir}/heads.json. {spent(started)}"
    say(text)
    on_main_rank(lambda: finished.record(made_from, text, SELECTION_PRODUCTS[finished.name]))


if __name__ == "__main__":
    sys.exit(run_command(main))
