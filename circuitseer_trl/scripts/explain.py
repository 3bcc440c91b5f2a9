"""Shows why a row has its score: the attention that its tokens receive, their influence, or their dependence on heads."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from circuitseer_trl.checks import check_choice, check_count
from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import UNUSED_BY_SCORES, Groups, PoolConfig, SelectionConfig
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import check_names

if TYPE_CHECKING:
    from circuitseer_trl.pool.rows import Example, Pool

View = Literal["attention", "influence", "dependence"]


@dataclass
class ExplainConfig:
    """The keys of `circuitseer explain`, beside those of the pool and of selection."""

    groups: ClassVar[Groups] = {"explanation": ("row", "max_tokens_shown", "view")}

    row: str = field(metadata={"help": "The row's position in the dataset (the `row` of scores/), or its uid."})
    max_tokens_shown: int = field(default=60, metadata={"help": "Tokens to show of a longer text: the most unusual."})
    view: View = field(
        default="attention",
        metadata={
            "help": "attention: for `method: circuitseer`; influence: of steps and tokens, for `method: infra`; "
            "dependence: of steps and tokens on heads, for `method: dependence`."
        },
    )

    def __post_init__(self) -> None:
        self.row = str(self.row)
        check_choice("view", self.view, View)
        check_count("max_tokens_shown", self.max_tokens_shown)


def find_row(pool: "Pool", name: str) -> "Example":
    """Finds the usable row with this uid, or at this position in the dataset."""
    if name in pool.uids:
        return pool[pool.uids.index(name)]
    rows = pool.rows.tolist()
    if name.isdecimal() and int(name) in rows:
        return pool[rows.index(int(name))]
    raise ValueError(
        f"The pool has no usable row {name!r}. `--row` is a position from 0 to {len(pool.source) - 1}, or a uid; rows "
        "that cannot be used are in dropped.parquet."
    )


def main(args: Sequence[str] | None = None) -> None:
    asked, pool_config, config = parse_recipe(
        *(ExplainConfig, PoolConfig, SelectionConfig),
        args=args,
        prog="circuitseer explain",
        description=__doc__,
        kinds=SELECTION_KINDS,
        hidden=UNUSED_BY_SCORES,
    )
    check_names(pool_config, config)
    from circuitseer_trl.distributed.only_writer import only_writer
    from circuitseer_trl.distributed.processes import say
    from circuitseer_trl.pages.explanation import render, render_dependence, render_influence
    from circuitseer_trl.pool.load import pool_from_config
    from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
    from circuitseer_trl.scoring.dependence import DependenceScorer
    from circuitseer_trl.scoring.explain import explain
    from circuitseer_trl.scoring.explain_dependence import explain_dependence
    from circuitseer_trl.scoring.explain_influence import explain_influence
    from circuitseer_trl.scoring.infra import InfraScorer
    from circuitseer_trl.selection.steps import SelectionSteps

    if config.heads_file is None and config.head_set == "detected":
        config.heads_file = str(Path(config.output_dir) / "heads.json")  # the run's heads: finding them here takes long
    steps = SelectionSteps.from_config(config, pool_config.chat)
    scorer = steps.parts.scorer
    if asked.view == "influence" and not isinstance(scorer, InfraScorer):
        raise ValueError(f"`view: influence` is for `method: infra`, got `method: {config.method}`.")
    if asked.view == "dependence" and not isinstance(scorer, DependenceScorer):
        raise ValueError(f"`view: dependence` is for `method: dependence`, got `method: {config.method}`.")
    if asked.view == "attention" and not (isinstance(scorer, CircuitSeerScorer) and scorer.statistic == "variance"):
        raise ValueError("Only scores of `method: circuitseer` with `statistic: variance` can be explained.")
    pool = pool_from_config(pool_config)
    example = find_row(pool, asked.row)
    if isinstance(scorer, DependenceScorer):  # one row needs no losses of the pool, which `bind` would compute
        attached = scorer.attach(steps.reference, steps.heads(pool))
        say(render_dependence(explain_dependence(example, attached), asked.max_tokens_shown))
        return
    with only_writer(config.output_dir):  # an influence is explained by what `bind` writes
        bound = scorer.bind(pool, steps.reference, steps.heads(pool), config.output_dir)
    if isinstance(bound, InfraScorer):
        say(render_influence(explain_influence(example, bound), asked.max_tokens_shown))
    elif isinstance(bound, CircuitSeerScorer):
        say(render(explain(example, bound), asked.max_tokens_shown))


if __name__ == "__main__":
    sys.exit(run_command(main))
