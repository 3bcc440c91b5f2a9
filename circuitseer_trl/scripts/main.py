"""The `circuitseer` command, which starts all steps."""

import difflib
import importlib
import sys

from circuitseer_trl.command_line import run_command

COMMANDS = {
    "find-heads": "finds the attention heads that reasoning depends on",
    "score-pool": "scores every problem by how those heads attend to it",
    "select-data": "chooses the rows to train on (runs the two steps above if needed)",
    "explain": "shows why a row has its score: its tokens, and the heads' parts",
    "compare": "compares selections: overlap, scores, lengths, categories, cost",
    "compare-heads": "compares two sets of heads: overlap, agreement, and a picture",
    "train-sft": "fine-tunes with TRL",
    "evaluate": "measures Pass@1 and Majority@n of a model on benchmarks",
    "grade": "grades a JSONL file of answers",
    "report": "compares evaluations, as tables and as a page",
    "export": "writes the tables and figures of a study or of runs as files for a paper",
    "pool-benchmark": "writes a pool as a benchmark",
    "study": "runs methods x seeds x models, shares what they have in common, and compares them",
    "reproduce": "selects, trains, evaluates and reports, from four recipes; skips what is finished",
    "doctor": "checks that this machine computes right and fast",
    "demo": "runs all of this on word problems, on two CPU cores, in minutes",
    "recipes": "lists, shows and copies the recipes that come with the package",
}


def usage() -> str:
    lines = [f"    circuitseer {name:15s} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: circuitseer COMMAND ...\n",
            *lines,
            "\n`circuitseer COMMAND --help` lists the keys of a command. `circuitseer --version` prints the version.",
            "--debug shows the traceback of an error. To run a step with several processes, start it with",
            "`accelerate launch -m circuitseer_trl.scripts.COMMAND`, with _ for -.",
        ]
    )


def dispatch(words: list[str]) -> int | None:
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from circuitseer_trl import __version__

        print(f"circuitseer_trl {__version__}")
        return 0
    name = words[0].replace("_", "-")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"Did you mean `{close[0]}`?" if close else f"Commands are {', '.join(COMMANDS)}."
        raise ValueError(f"There is no command {words[0]!r}. {advice}")
    return importlib.import_module(f"circuitseer_trl.scripts.{name.replace('-', '_')}").main(words[1:])


def main(arguments: list[str] | None = None) -> int:
    return run_command(dispatch, arguments)


if __name__ == "__main__":
    sys.exit(main())
