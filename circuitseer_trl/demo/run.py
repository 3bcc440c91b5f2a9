"""Does a tenth that a method selects beat a random tenth? A study on two CPU cores, without a network.

    circuitseer demo

A base model of 0.8M parameters (trained by `circuitseer_trl.demo.train_base`) is fine-tuned on a tenth of 2,000 generated word
problems, of which 6 in 10 have a wrong solution. Five methods choose the tenth, and one control knows which solutions are right.
"""

import os
import sys
import time
from pathlib import Path

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.children import run_child
from circuitseer_trl.demo import word_problems
from circuitseer_trl.drawing.text_tables import text_table

OUTPUT = Path("runs/demo")  # the recipes also name it
STUDY = OUTPUT / "study"


def share_of_right_solutions() -> str:
    """A table of the share of right solutions among the rows that each method selected, the mean over its seeds."""
    shares: dict[str, list[float]] = {}
    for point in read_json(STUDY / "study.json")["points"]:
        card = STUDY / point["folder"] / "selection" / "selection.json"
        if card.is_file():
            counts = read_json(card)["categories"]
            selected = {kind: count["selected"] for kind, count in counts.items()}
            shares.setdefault(point["method"], []).append(selected.get("right", 0) / sum(selected.values()))
    rows = [[method, f"{100 * sum(each) / len(each):.0f}%"] for method, each in shares.items()]
    return text_table(["method", "right solutions"], rows)


def heads_found() -> str:
    """The reasoning heads of the base model, with their importance."""
    [card] = (STUDY / "shared" / "heads").glob("*/heads.json")
    heads = read_json(card)
    return ", ".join(
        f"layer {layer} head {head} ({heads['importance'][layer][head]:+.3f} nats)" for layer, head in heads["selected"]
    )


def run_demo() -> int:
    """Runs the demo in `runs/demo`. Returns the exit status of the study."""
    started = time.monotonic()
    word_problems.main(["--output_dir", str(OUTPUT / "data")])
    workers = str(min(2, os.cpu_count() or 1))
    words = ["demo/study", "--output_dir", str(STUDY), "--workers", workers]
    if status := run_child([sys.executable, "-m", "circuitseer_trl.scripts.study", *words]):
        return status
    print(f"\nOf the pool's solutions {100 * (1 - word_problems.WRONG_RATIO):.0f}% are right. Of the selected rows:")
    print(f"{share_of_right_solutions()}\n\nReasoning heads: {heads_found()}")
    print(f"\nThe demo took {time.monotonic() - started:.0f} s.")
    return 0
