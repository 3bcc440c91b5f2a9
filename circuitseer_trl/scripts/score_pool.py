"""Scores every row of a pool, and writes `scores/` and `scores.json`. Finds the heads first if they are missing."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import UNUSED_BY_SCORES, DryRunConfig, ExecutorConfig, PoolConfig, SelectionConfig
from circuitseer_trl.distributed.finishing import say_if_finished
from circuitseer_trl.finished import SELECTION_PRODUCTS, selection_step
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import check_names

if TYPE_CHECKING:
    from circuitseer_trl.pool.rows import Pool
    from circuitseer_trl.scoring.base import ScoreTable


def describe(scores: "ScoreTable", pool: "Pool") -> str:
    """Describes the scores: counts, correlation with length, and the highest, the lowest and some random rows."""
    from circuitseer_trl.selection.card_warnings import length_warning
    from circuitseer_trl.selection.examples import as_text, example_rows

    card = scores.card
    correlation = card["rank_correlation_with_length"]
    shown = "-" if correlation is None else f"{correlation:+.3f}"
    scored = f"{len(pool)} rows scored: {card['counts']}.{pool.dropped_sentence()}"
    lines = [f"{scored} Rank correlation of score and length: {shown}."]
    by_solution = card["rank_correlation_with_solution_length"]
    if by_solution["value"] is not None:
        lines[0] += f" Of score and the solution's length in {by_solution['unit']}: {by_solution['value']:+.3f}."
    if warning := length_warning(correlation):
        lines.append(f"WARNING: {warning}")
    lines.append(as_text(example_rows(scores.shards.tables(), pool)))
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    pool_config, config, run, execution = parse_recipe(
        *(PoolConfig, SelectionConfig, DryRunConfig, ExecutorConfig),
        args=args,
        prog="circuitseer score-pool",
        description=__doc__,
        kinds=SELECTION_KINDS,
        hidden=UNUSED_BY_SCORES,
    )
    check_names(pool_config, config)
    finished = selection_step("score-pool", pool_config, config)
    made_from = finished.made_from()
    if not run.dry_run and say_if_finished(finished, made_from):
        return
    from circuitseer_trl.distributed.executors import executing
    from circuitseer_trl.distributed.only_writer import check_only_writer
    from circuitseer_trl.distributed.processes import on_main_rank, say
    from circuitseer_trl.pool.load import pool_from_config
    from circuitseer_trl.selection.cost import cost_table, estimate, spent
    from circuitseer_trl.selection.reckoning import reckoning
    from circuitseer_trl.selection.steps import SelectionSteps

    steps = SelectionSteps.from_config(config, pool_config.chat)  # raises before the pool is read
    with executing(execution):  # raises before the pool is read
        check_only_writer(config.output_dir)
        pool = pool_from_config(pool_config)
        if run.dry_run:
            costs = estimate(steps, pool)
            say(cost_table(costs) + reckoning(costs, pool, run.price_per_hour))
            return
        scores = steps.score(pool)
    text = f"{describe(scores, pool)}\nWritten to {config.output_dir}/scores. {spent(started)}"
    say(text)
    on_main_rank(lambda: finished.record(made_from, text, SELECTION_PRODUCTS[finished.name]))


if __name__ == "__main__":
    sys.exit(run_command(main))
