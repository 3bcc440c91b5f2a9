"""The `circuitseer` command: one name for all steps.

    circuitseer find-heads   finds the attention heads that reasoning depends on
    circuitseer score-pool   scores every problem by how those heads attend to it
    circuitseer select-data  chooses the rows to train on (does the two steps above where needed)
    circuitseer explain      shows why a row has its score: its tokens, and the heads' parts
    circuitseer train-sft    fine-tunes with TRL
    circuitseer compare      compares selections: overlap, scores, lengths, categories, cost
    circuitseer reproduce    selects, trains, evaluates and reports, from recipes

`circuitseer <step> --help` lists the keys of a step. Steps that use several processes start as
`accelerate launch -m circuitseer_trl.scripts.<step>`. Evaluation runs from a checkout: `python -m eval.run`.
"""

import importlib
import sys

STEPS = ("find-heads", "score-pool", "select-data", "explain", "train-sft", "reproduce", "compare")


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    step = arguments[0].replace("_", "-")
    if step not in STEPS:
        print(f"There is no step {arguments[0]!r}. Steps are {', '.join(STEPS)}.", file=sys.stderr)
        return 2
    importlib.import_module(f"circuitseer_trl.scripts.{step.replace('-', '_')}").main(arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
