"""Are the numbers of heads right? The sweep, the attributions and the race, against one head at a time."""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pyarrow as pa

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.attribution import HeadAttributions, head_attributions
from circuitseer_trl.circuits.model_race import RacePlan, rounding_nats, run_race
from circuitseer_trl.circuits.sweep import HeadSweep, head_loss_increases
from circuitseer_trl.doctor.measure import spread
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.slow_ways import slopes
from circuitseer_trl.doctor.subject import Subject
from circuitseer_trl.doctor.tolerances import INCREASE_NATS, SLOPE_RELATIVE, short

STEP = 2e-3  # of the finite difference; transformers' norms round to float32, so it cannot be much smaller
NUM_SLOPES, NUM_RACED_HEADS = 6, 8
SMALLEST_EFFECT = 1e-6  # nats; below, ablation does nothing and a comparison shows nothing
# What a race may lose by taking a head for another that is nearly as good: a share of the largest importance, and a share of
# the bound of one increase, since rounding averages out over the texts.
RACE_TOLERANCE, RACE_ROUNDING = 0.05, 0.25


def _values(grid: np.ndarray, heads: Sequence[Head]) -> np.ndarray:
    return np.array([grid[head] for head in heads])


def check_sweep(subject: Subject) -> list[Outcome]:
    """Loss increases of all heads in one forward, against one forward for each head with its matrix overwritten."""
    expected = subject.exact_increases
    if np.abs(expected).max() < SMALLEST_EFFECT:
        raise CannotError(f"silencing a head changes no loss of {subject.label}")
    outcomes = []
    for dtype in dict.fromkeys((subject.wide_dtype, subject.default_dtype)):
        sweep = head_loss_increases(subject.model(dtype), subject.examples[0], subject.heads)
        error = float(np.abs(_values(sweep.increase, subject.heads) - expected).max())
        detail = f"{len(expected)} heads, one at a time; largest {np.abs(expected).max():.2g}"
        outcomes.append(compared(f"head sweep, {short(dtype)}", error, INCREASE_NATS[dtype], "nats", detail))
    return outcomes


def check_attribution(subject: Subject) -> list[Outcome]:
    """First-order estimates against finite differences."""
    largest = np.argsort(-np.abs(subject.exact_increases), kind="stable")[:NUM_SLOPES]
    heads, example = [subject.heads[index] for index in largest], subject.examples[0]
    expected = np.array(slopes(subject.wide, example, heads, STEP))
    if np.abs(expected).max() < SMALLEST_EFFECT:
        raise CannotError(f"moving a head's output changes no loss of {subject.label}")
    outcomes = []
    for dtype in dict.fromkeys((subject.wide_dtype, subject.default_dtype)):
        values = _values(head_attributions(subject.model(dtype), example).estimate, heads)
        error = float(np.abs(values - expected).max() / np.abs(expected).max())
        detail = f"{len(heads)} heads, finite differences"
        outcomes.append(compared(f"attribution, {short(dtype)}", error, SLOPE_RELATIVE[dtype], "relative", detail))
    return outcomes


def check_race(subject: Subject) -> list[Outcome]:
    """The heads that a race finds, against those of the whole sweep: how much importance is lost?"""
    dtype, heads = subject.default_dtype, spread(subject.heads, NUM_RACED_HEADS)
    model, examples = subject.model(dtype), subject.raced_examples
    size = max(1, len(heads) // 4)
    swept = [head_loss_increases(model, example, heads) for example in examples]
    importance = np.mean([_values(sweep.increase, heads) for sweep in swept], axis=0)

    # The race counts the heads that take part as those of a single layer.
    def sweep(index: int, members: Sequence[Head]) -> pa.Table:
        places = [member for _, member in members]
        values = head_loss_increases(model, examples[index], [heads[place] for place in places])
        row = np.full((1, len(heads)), np.nan)
        row[0, places] = _values(values.increase, [heads[place] for place in places])
        return HeadSweep(values.base_loss, row).table(examples[index].uid, members)

    def attribute(index: int) -> pa.Table:
        values = head_attributions(model, examples[index])
        estimate, reach = _values(values.estimate, heads)[None], _values(values.reach, heads)[None]
        return HeadAttributions(values.base_loss, estimate, reach).table(examples[index].uid)

    uids, lengths = [each.uid for each in examples], [len(each.input_ids) for each in examples]
    plan = RacePlan(uids, lengths, (1, len(heads)), size, 0, rounding_nats(dtype))
    # The bars of single shards would break the table.
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        result = run_race(sweep, attribute, plan, {}, Path(folder))
    found = sorted({member for _, member in result.selected})
    if len(found) != size:
        return [Outcome(f"race, {short(dtype)}", "differs", detail=f"found {len(found)} heads of {size}")]
    best = np.sort(importance)[-size:]
    lost = float(best.mean() - importance[found].mean())
    bound = RACE_TOLERANCE * float(np.abs(importance).max()) + RACE_ROUNDING * INCREASE_NATS[dtype]
    same = len(set(found) & set(np.argsort(-importance, kind="stable")[:size].tolist()))
    detail = f"{same} of {size} heads are those of the sweep over {len(examples)} texts"
    return [compared(f"race, {short(dtype)}", lost, bound, "nats lost", detail)]
