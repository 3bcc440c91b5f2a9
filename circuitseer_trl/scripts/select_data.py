"""Selects rows of a pool to train on, and writes `selection.parquet`. Finds heads and scores the pool first if needed."""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import DryRunConfig, ExecutorConfig, PoolConfig, SelectionConfig
from circuitseer_trl.distributed.finishing import say_if_finished
from circuitseer_trl.finished import SELECTION_PRODUCTS, selection_step
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import check_names


def beside_text(output_dir: str, uids: list[str], card: dict[str, Any]) -> str:
    """The rows that this selection shares with those in folders beside it, as a table; empty if there are none of its pool."""
    from circuitseer_trl.drawing.text_tables import text_table
    from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, overlap_rows
    from circuitseer_trl.selection.overlaps import beside, overlaps

    found = {"this selection": (card, uids)} | {
        name: (each.card, each.uids) for name, each in beside(output_dir).items()
    }
    cards = {name: each for name, (each, _) in found.items()}
    pairs = [
        each
        for each in overlaps(cards, {name: each for name, (_, each) in found.items()})
        if each.left == "this selection"
    ]
    return f"\n{text_table(OVERLAP_HEADING, overlap_rows(pairs))}" if pairs else ""


def main(args: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    started = time.monotonic()
    pool_config, config, run, execution = parse_recipe(
        *(PoolConfig, SelectionConfig, DryRunConfig, ExecutorConfig),
        args=args,
        prog="circuitseer select-data",
        description=__doc__,
        kinds=SELECTION_KINDS,
    )
    check_names(pool_config, config)
    finished = selection_step("select-data", pool_config, config)
    made_from = finished.made_from()
    if not run.dry_run and config.report_to == "none" and say_if_finished(finished, made_from):
        return
    from circuitseer_trl.artifacts import write_card
    from circuitseer_trl.distributed.executors import executing
    from circuitseer_trl.distributed.only_writer import check_only_writer
    from circuitseer_trl.distributed.processes import on_main_rank, process_state, say
    from circuitseer_trl.pool.load import pool_from_config
    from circuitseer_trl.selection.cost import cost_table, estimate, spent
    from circuitseer_trl.selection.examples import as_text, example_rows, stored_examples
    from circuitseer_trl.selection.reckoning import reckoning
    from circuitseer_trl.selection.steps import SelectionSteps
    from circuitseer_trl.tracking import check_tracker, start_run

    check_tracker(config.report_to)
    steps = SelectionSteps.from_config(config, pool_config.chat)  # raises before the pool is read
    with executing(execution):  # raises before the pool is read
        check_only_writer(config.output_dir)
        pool = pool_from_config(pool_config)
        if run.dry_run:
            costs = estimate(steps, pool)
            say(cost_table(costs) + reckoning(costs, pool, run.price_per_hour))
            return
        if config.report_to == "wandb":
            start_run("select")
        selected = steps.select(pool)
    if config.report_to == "wandb":
        from circuitseer_trl.selection.selection_panels import log_selection

        log_selection(config.output_dir, pool)
    selection, card = selected.selection, selected.card
    examples = example_rows(selected.scores.shards.tables(), pool, set(selection.uids))
    on_main_rank(lambda: write_card(f"{config.output_dir}/examples.json", stored_examples(examples, card)))
    correlation = card["rank_correlation_with_length"]
    by_solution, tokens = card["rank_correlation_with_solution_length"], card["mean_tokens"]
    text = (
        f"Selected {len(selection)} of {len(pool)} rows by {card['method']} ({card['sampling']}, seed {card['seed']}), "
        f"by {process_state().num_processes} process(es)."
        + pool.dropped_sentence()
        + (f" Rank correlation of score and length: {correlation:+.3f}." if correlation is not None else "")
        + (
            f" Of score and the solution's length in {by_solution['unit']}: {by_solution['value']:+.3f}."
            if by_solution["value"] is not None
            else ""
        )
        + (
            f" Mean tokens: {tokens['pool']:.0f} in the pool, {tokens['selected']:.0f} selected."
            if tokens["pool"]
            else ""
        )
        + (f" Training tokens: {card['training_tokens']['selected']}." if card["training_tokens"] else "")
        + f" An independent draw of as many rows shares {card['overlap_by_chance']:.1%} of them."
        + on_main_rank(lambda: beside_text(config.output_dir, selection.uids, card))
        + f"\n{as_text(examples)}\n(* is selected.) Written to {config.output_dir}/selection.parquet. {spent(started)}"
    )
    say(text)
    on_main_rank(lambda: finished.record(made_from, text, SELECTION_PRODUCTS[finished.name]))


if __name__ == "__main__":
    sys.exit(run_command(main))
