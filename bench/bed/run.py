"""How is a plan run? Replicates in processes that stay; each training is written as a row at once, and is never done again."""

import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.bed.choosing import Candidates, Ordered, matched_order, order_by, within
from bench.bed.heads import find_head_sets
from bench.bed.plan import BASES, Plan, budget_name
from bench.bed.training import measure, order_of, train, training_row
from bench.bed.world import World, make_world, seed_of
from circuitseer_trl.children import die_with
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.locks import writing_to
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.scoring.diagnostics import partial_rank_correlation, rank_correlation

Say = Callable[[str], None]


def rows_file(rows_folder: Path, base: str, kind: str, replicate: int) -> Path:
    return rows_folder / f"{base}-{kind}-{replicate:03d}.jsonl"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file. A last line that a kill has cut is left out, and taken out of the file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def base_reference(base: str) -> Reference:
    return Reference(str(BASES[base]), dtype="float32", max_length=512, system_prompt="")


class Replicate:
    """A pool and its test problems, and what the methods of a plan choose of it."""

    def __init__(self, plan: Plan, base: str, kind: str, number: int, heads: Mapping[str, HeadSet], scratch: Path):
        self.plan, self.base, self.kind, self.number, self.heads = plan, base, kind, number, heads
        self.scratch = scratch
        self.reference = base_reference(base)
        self.world: World = make_world(kind, number)
        pool, tokenizer = self.world.pool(), self.reference.tokenizer
        rows = [training_row(tokenizer, example.problem, example.completion) for example in pool]
        problem_length, solution_length = (
            np.array([len(ids) for ids in tokenizer(list(pool.examples[name]), add_special_tokens=False)["input_ids"]])
            for name in ("problem", "completion")
        )
        steps = np.array([row["num_steps"] for row in self.world.rows])
        self.candidates = Candidates(pool, rows, problem_length, solution_length, steps)
        self.test = list(self.world.problems())
        self.orders: dict[str, Ordered] = {}

    def seed(self, *parts: object) -> int:
        return seed_of(*parts, self.kind, self.number)

    def ordered(self, name: str) -> Ordered:
        """The pool in the order of a method that needs no budget."""
        if name not in self.orders:
            keys = next(method for method in self.plan.methods if method["name"] == name)
            seed = self.seed("draw") % 2**32
            self.orders[name] = order_by(keys, self.candidates, self.reference, self.heads, seed, self.scratch)
        return self.orders[name]

    def chosen(self, name: str, budget: Mapping[str, int]) -> np.ndarray:
        """Places in the pool of the rows that a method chooses within a budget."""
        keys = next(method for method in self.plan.methods if method["name"] == name)
        if "matched" not in keys:
            return within(self.ordered(name).order, self.candidates, budget)
        to, by = keys["matched"]["to"], keys["matched"]["by"]
        rng = np.random.default_rng(self.seed("matched", name))
        order = matched_order(self.chosen(to, budget), getattr(self.candidates, by), rng)
        return within(order, self.candidates, budget)

    def row(self, name: str, budget: Mapping[str, int]) -> dict[str, Any]:
        """Trains on what a method chooses, and measures."""
        rows = np.sort(self.chosen(name, budget))
        started = time.perf_counter()
        examples = [self.candidates.rows[place] for place in rows]
        model = deepcopy(self.reference.model()).requires_grad_(True)
        batches = order_of([len(row.ids) for row in examples], self.plan.settings, self.seed("order"))
        train(model, examples, batches, self.plan.settings)
        found = measure(
            model.requires_grad_(False), self.reference, self.test, [int(row["num_steps"]) for row in self.world.test]
        )
        seconds = time.perf_counter() - started
        truth = [self.world.rows[place] for place in rows]
        others = [self.chosen("random", budget)] if any(each["name"] == "random" for each in self.plan.methods) else []
        return {
            "num_rows": len(rows),
            "training_tokens": int(self.candidates.tokens[rows].sum()),
            **asdict(found),
            "mean_steps": float(np.mean([row["num_steps"] for row in truth])),
            "right_ratio": float(np.mean([row["solution_is"] == "right" for row in truth])),
            "distinct_ratio": len({row["origin"] for row in truth}) / len(truth),
            "overlap_with_random": len(np.intersect1d(rows, others[0])) / len(rows) if others else None,
            "rho": self.correlations(name),
            "seconds": round(seconds, 2),
        }

    def correlations(self, name: str) -> dict[str, float | None] | None:
        """What the scores of a method follow; None for a control without scores."""
        scores = self.orders[name].scores if name in self.orders else None
        if scores is None:
            return None
        each = self.candidates
        return {
            "steps": rank_correlation(scores, each.steps),
            "problem_length": rank_correlation(scores, each.problem_length),
            "solution_length": rank_correlation(scores, each.solution_length),
            "steps_given_problem_length": partial_rank_correlation(scores, each.steps, each.problem_length),
            "steps_given_solution_length": partial_rank_correlation(scores, each.steps, each.solution_length),
        }


def run_unit(plan: Plan, base: str, kind: str, number: int, rows_folder: Path, scratch: Path, say: Say = print) -> None:
    """Does the trainings of a replicate that are not done."""
    torch.set_num_threads(1)
    path = rows_file(rows_folder, base, kind, number)
    done = {(row["method"], row["budget"]) for row in read_rows(path)}
    left = [(method["name"], each) for method, each in plan.points if (method["name"], budget_name(each)) not in done]
    if not left:
        return
    heads = find_head_sets(
        base_reference(base), base, kind, plan.probe_rows, rows_folder, scratch / f"heads-{base}-{kind}"
    )
    replicate = Replicate(plan, base, kind, number, heads, scratch / path.stem)
    for name, budget in left:
        row: dict[str, Any] = {"plan": plan.name, "base": base, "kind": kind, "replicate": number}
        row |= {"method": name, "budget": budget_name(budget)}
        try:
            row |= replicate.row(name, budget) | {"status": "ok"}
            found = f"exact {row['exact']:.3f}, loss {row['loss']:.4f}, {row['num_rows']} rows, {row['seconds']:.0f} s"
        except Exception as error:
            traceback.print_exc()
            row |= {"status": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            found = row["status"]
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        say(f"{base} {kind} {number} {name} {budget_name(budget)}: {found}")


def run_plan(plan: Plan, rows_folder: Path, scratch: Path, num_workers: int) -> int:
    """Runs a plan. Returns the number of trainings that failed.

    Raises:
        ValueError: Another run writes rows of this plan.
    """
    with writing_to(rows_folder, "rows"):
        return _run_plan(plan, rows_folder, scratch, num_workers)


def _run_plan(plan: Plan, rows_folder: Path, scratch: Path, num_workers: int) -> int:
    started = time.monotonic()
    for base in plan.bases:  # once, before the processes that all need them
        for kind in plan.kinds:
            folder = scratch / f"heads-{base}-{kind}"
            find_head_sets(base_reference(base), base, kind, plan.probe_rows, rows_folder, folder)

    def count() -> int:
        return sum(len(read_rows(rows_file(rows_folder, *unit))) for unit in plan.units)

    total, before = len(plan.units) * len(plan.points), count()
    print(f"{plan.name}: {total} trainings, {before} are done.", flush=True)
    # Workers would outlive a run that gets SIGKILL, and write beside the next one.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=die_with, initargs=(os.getpid(),)) as workers:
        work = [workers.submit(run_unit, plan, *unit, rows_folder, scratch) for unit in plan.units]
        for each in as_completed(work):
            each.result()
            done, seconds = count(), time.monotonic() - started
            if done > before:
                left = seconds / (done - before) * (total - done)
                print(f"{done} of {total} trainings, {seconds / 60:.0f} min; {left / 60:.0f} min left.", flush=True)
    failed = [row for unit in plan.units for row in read_rows(rows_file(rows_folder, *unit)) if row["status"] != "ok"]
    for row in failed:
        print(
            f"failed: {row['base']} {row['kind']} {row['replicate']} {row['method']}: {row['status']}", file=sys.stderr
        )
    return len(failed)
