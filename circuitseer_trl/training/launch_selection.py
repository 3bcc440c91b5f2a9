"""Selects in the launch that trains. For a large pool, select in a launch of its own first."""

from pathlib import Path

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.steps import SelectionSteps
from circuitseer_trl.training.selected_rows import ChosenRows, read_chosen_rows


def select_in_launch(
    selection_recipe: str | Path, pool: Pool, output_dir: str | Path, chat: ChatSettings
) -> ChosenRows:
    """Runs a selection recipe before a trainer exists. Every process calls this and scores its share.

    Each process loads the reference model whole, with any training engine, and frees it before the target model is loaded.

    Args:
        output_dir: The folder for heads, scores and the selection; it replaces the recipe's.
    """
    words = ["--config", str(selection_recipe), "--output_dir", str(output_dir)]
    config = parse_recipe(SelectionConfig, args=words, kinds=("selection", "ablations"))
    SelectionSteps.from_config(config, chat).select(pool)
    return read_chosen_rows(output_dir, pool)
