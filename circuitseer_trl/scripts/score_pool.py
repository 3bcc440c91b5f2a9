"""Scores every row of a pool, and writes the scores to `scores/` and `scores.json`; finds the heads where they are missing."""

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.data import Pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.scoring.base import ScoreTable
from circuitseer_trl.selection.card import length_warning
from circuitseer_trl.selection.selector import compute_scores, make_parts, pool_from_config
from circuitseer_trl.sharding import say

EXTREMES = 10


def describe(scores: ScoreTable, pool: Pool) -> str:
    """The counts, the correlation with length, and the best and worst rows."""
    card = scores.card
    correlation = card["rank_correlation_with_length"]
    shown = "-" if correlation is None else f"{correlation:+.3f}"
    lines = [f"{len(scores.table)} rows scored: {card['counts']}. Rank correlation of score and length: {shown}."]
    if warning := length_warning(correlation):
        lines.append(f"WARNING: {warning}")
    ranked = [
        index
        for index in (-scores.scores).argsort(kind="stable").tolist()
        if scores.scores[index] == scores.scores[index]
    ]
    tokens = scores.table["num_tokens"].to_pylist()
    for title, indices in (("Highest", ranked[:EXTREMES]), ("Lowest", ranked[-EXTREMES:][::-1])):
        lines.append(f"{title} scores:")
        lines += [
            f"  {scores.scores[index]:10.4f}  {tokens[index] or 0:5d} tokens  {' '.join(pool[index].problem.split())[:90]}"
            for index in indices
        ]
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    pool_config, config = parse_recipe(
        PoolConfig, SelectionConfig, args=args, prog="circuitseer score-pool", description=__doc__
    )
    make_parts(config, pool_config.system_prompt)  # what is wrong with the method is said before the pool is read
    pool = pool_from_config(pool_config)
    say(
        f"{describe(compute_scores(config, pool_config.system_prompt, pool), pool)}\nWritten to {config.output_dir}/scores"
    )


if __name__ == "__main__":
    main()
