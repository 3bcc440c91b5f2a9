"""Does this machine compute right and fast? Runs all checks, and prints a row for each as it is there."""

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import transformers

from circuitseer_trl.artifacts import write_json
from circuitseer_trl.doctor.abilities import check_all_reduce, check_bfloat16, check_flash_attention, check_vllm
from circuitseer_trl.doctor.cost_checks import check_memory, check_throughput
from circuitseer_trl.doctor.generation_checks import check_transformers, check_vllm_text
from circuitseer_trl.doctor.head_checks import check_attribution, check_race, check_sweep
from circuitseer_trl.doctor.machine import describe_machine, machine_lines
from circuitseer_trl.doctor.outcome import Check, Outcome, run_checks
from circuitseer_trl.doctor.record import report_record, scrub, scrubbed
from circuitseer_trl.doctor.subject import Subject
from circuitseer_trl.doctor.text_checks import (
    check_losses,
    check_masks,
    check_padding,
    check_scores,
    check_template,
)
from circuitseer_trl.doctor.training_check import announcement, check_zero3
from circuitseer_trl.named_files import shipped_path

DEFAULT_MODEL = "recipes/demo/base_model"
BAD = ("differs", "failed")
QUICK = "left out by --quick"
OPENAI = "needs a server; `circuitseer evaluate --backend openai` asks one"
_WIDTHS = (30, 8, 22, 18)


def default_model() -> str:
    """The base model of the demo, which comes with the package: real text, a tokenizer, and heads that matter."""
    return shipped_path(DEFAULT_MODEL)


def all_checks(subject: Subject, *, quick: bool) -> list[Check]:
    """The checks in their order: what the machine can do, numbers, cost, engines."""
    slow = QUICK if quick else None
    return [
        Check("bfloat16 product", check_bfloat16),
        Check("flash-attention", check_flash_attention),
        Check("all_reduce", check_all_reduce),
        Check("chat template", partial(check_template, subject)),
        Check("losses", partial(check_losses, subject)),
        Check("padding", partial(check_padding, subject)),
        Check("masks", partial(check_masks, subject)),
        Check("scores", partial(check_scores, subject)),
        Check("head sweep", partial(check_sweep, subject)),
        Check("attribution", partial(check_attribution, subject)),
        Check("race", partial(check_race, subject)),
        Check("generation, transformers", partial(check_transformers, subject)),
        Check("generation, openai", list, left_out=OPENAI),
        Check("memory", check_memory),
        Check("speed", check_throughput),
        Check("ZeRO-3", partial(check_zero3, default_model()), left_out=slow, announcement=announcement()),
        Check("vLLM", check_vllm, left_out=slow),
        Check(
            "generation, vllm",
            partial(check_vllm_text, subject),
            left_out=slow,
            announcement="Starts vLLM if it is there.",
        ),
    ]


def _cells(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def row(outcome: Outcome) -> str:
    """A row of the table."""
    value = "" if outcome.value is None else f"{outcome.value:.2g} {outcome.unit}"
    bound = "" if outcome.bound is None else f"{'at least' if outcome.at_least else 'at most'} {outcome.bound:.3g}"
    cells = _cells([outcome.name, outcome.status, value, bound])
    return f"{cells}{outcome.seconds:7.1f}  {outcome.detail}".rstrip()


def diagnose(model: str | None, *, quick: bool, output: Path | None) -> int:
    """Runs the checks, prints the table, and writes it as JSON.

    Args:
        model: Hub id or folder; None is the demo's base model.
        quick: Leaves out what starts engines: ZeRO-3 and vLLM.
        output: The JSON file; None writes none.

    Returns:
        1 if a number differs or a check failed, else 0.
    """
    started = time.monotonic()
    transformers.logging.disable_progress_bar()
    subject = Subject(model or default_model())
    machine = describe_machine()
    print("\n".join(map(scrub, machine_lines(machine))))
    print(f"\nThe model is {subject.label}.\n")
    heading = f"{_cells(['check', 'result', 'value', 'bound'])}seconds"
    print(f"{heading}\n{'-' * len(heading)}", flush=True)
    live = sys.stderr.isatty()

    def before(check: Check) -> None:
        if check.announcement:
            print(check.announcement, file=sys.stderr, flush=True)
        if live:
            print(f"{check.name} ...", end="\r", file=sys.stderr, flush=True)

    outcomes = []
    for found in run_checks(all_checks(subject, quick=quick), before):
        outcome = scrubbed(found)
        outcomes.append(outcome)
        print(row(outcome), flush=True)
    subject.free()
    seconds = time.monotonic() - started
    bad = [outcome.name for outcome in outcomes if outcome.status in BAD]
    print(f"\nTook {seconds:.0f} s. " + (f"Not right: {', '.join(bad)}." if bad else "All that was checked is right."))
    if bad:
        print("docs/doctor.md says what each row means, and what to do.")
    if output is not None:
        write_json(output, report_record(machine, subject.label, quick, outcomes, seconds))
        print(f"Written to {output}; it can be attached to a bug report.")
    return 1 if bad else 0
