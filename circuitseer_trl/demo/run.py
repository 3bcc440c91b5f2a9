"""Does a selected tenth beat a random one? All steps on two CPU cores, without a network.

    circuitseer demo               # base, random 10%, length 10%, CircuitSeer 10%
    circuitseer demo --full        # and the whole pool

A base model of 0.8M parameters (trained by `circuitseer_trl.demo.train_base`) is fine-tuned on a tenth of 2,000 generated word
problems, chosen in three ways, and answers 90 others. With one seed and 90 problems the intervals are wide.
"""

import sys
import time
from pathlib import Path

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.children import run_child
from circuitseer_trl.demo import word_problems

OUTPUT = Path("runs/demo")  # the recipes also name it
LABELS = {
    "zero_shot": "base",
    "random": "random 10%",
    "length": "length 10%",
    "circuitseer": "CircuitSeer 10%",
    "full": "full pool",
}


def run_method(method: str) -> int:
    """Runs all steps for one method with the demo's recipes, and returns the exit status."""
    print(f"\n=== {LABELS[method]}", flush=True)
    recipes = ["--data", "demo/data", "--selection", f"demo/{method}", "--sft", "demo/sft", "--eval", "demo/eval"]
    return run_child(
        [sys.executable, "-m", "circuitseer_trl.scripts.reproduce", *recipes, "--output_dir", str(OUTPUT / method)]
    )


def seconds_table(methods: list[str]) -> str:
    """Formats the seconds of every step of every method, from `steps.json`."""
    steps = ("select", "train", "evaluate", "report")
    lines = [f"{'seconds':16s}" + "".join(f"{step:>10s}" for step in steps)]
    for method in methods:
        record = read_json(OUTPUT / method / "steps.json")
        cells = [f"{record[step]['seconds']:10.1f}" if step in record else f"{'-':>10s}" for step in steps]
        lines.append(f"{LABELS[method]:16s}" + "".join(cells))
    return "\n".join(lines)


def circuit_facts() -> str:
    """Describes the heads, and the rank correlation of score and length."""
    heads = read_json(OUTPUT / "circuitseer" / "selection" / "heads.json")
    card = read_json(OUTPUT / "circuitseer" / "selection" / "selection.json")
    names = ", ".join(
        f"layer {layer} head {head} ({heads['importance'][layer][head]:+.3f} nats)" for layer, head in heads["selected"]
    )
    steps = card["categories"] or {}
    shift = ", ".join(f"{name}: {count['pool']} -> {count['selected']}" for name, count in steps.items())
    return (
        f"Reasoning heads: {names}\n"
        f"Rank correlation of score and length: {card['rank_correlation_with_length']:+.3f}\n"
        f"Problems by number of steps, pool -> CircuitSeer 10%: {shift}"
    )


def run_demo(*, full: bool) -> int:
    """Runs the demo in `runs/demo`. Returns the exit status of the first step that fails, or 0."""
    started = time.monotonic()
    methods = ["zero_shot", "random", "length", "circuitseer", *(["full"] if full else [])]
    word_problems.main(["--output_dir", str(OUTPUT / "data")])
    for method in methods:
        if status := run_method(method):
            return status
    print("\n=== Results", flush=True)
    folders = [str(OUTPUT / method) for method in methods]
    report = ["--baseline", str(OUTPUT / "random"), "--output", str(OUTPUT / "report.html")]
    if status := run_child([sys.executable, "-m", "circuitseer_trl.scripts.report", *folders, *report]):
        return status
    print(f"\n{circuit_facts()}\n\n{seconds_table(methods)}\n\nThe demo took {time.monotonic() - started:.0f} s.")
    return 0
