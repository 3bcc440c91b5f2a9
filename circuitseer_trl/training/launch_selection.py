"""Selects in the launch that trains; for large pools select first, in a launch of its own."""

from pathlib import Path

from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.steps import SelectionSteps
from circuitseer_trl.training.selected_rows import ChosenRows, read_chosen_rows


def select_in_launch(
    selection_recipe: str | Path, pool: Pool, output_dir: str | Path, system_prompt: str
) -> ChosenRows:
    """Runs a selection recipe before a trainer exists; every process calls this, and each scores its share.

    The reference model is loaded whole, whatever the training engine, and is gone before the target model is loaded.

    Args:
        output_dir: Folder for heads, scores and the selection, in place of the recipe's.
    """
    config = parse_recipe(SelectionConfig, args=["--config", str(selection_recipe), "--output_dir", str(output_dir)])
    SelectionSteps.from_config(config, system_prompt).select(pool)
    return read_chosen_rows(output_dir, pool)
