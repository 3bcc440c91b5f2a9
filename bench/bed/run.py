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
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from bench.bed.choosing import TARGETS, Candidates, Ordered, matched_order, order_by, within
from bench.bed.heads import find_head_sets, fresh_rows, head_file
from bench.bed.plan import BASES, Plan, budget_name, chooses
from bench.bed.training import measure, order_of, train, training_row
from bench.bed.world import World, make_world, seed_of
from circuitseer_trl.children import die_with
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.demo.word_problems import write_jsonl
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


def shared_heads(plan: Plan, base: str, kind: str, rows_folder: Path, scratch: Path) -> dict[str, HeadSet]:
    """The head sets that the replicates of a base model and a kind of pool share."""
    path = head_file(rows_folder, base, kind)
    make = partial(fresh_rows, base, kind, plan.probe_rows)
    return find_head_sets(base_reference(base), make, {"base": base, "kind": kind}, path, scratch / path.stem)


class Replicate:
    """A pool and its test problems, and what the methods of a plan choose of it.

    Rows have places: first those of the pool, then the target problems.
    """

    def __init__(self, plan: Plan, base: str, kind: str, number: int, rows_folder: Path, scratch: Path):
        self.plan, self.base, self.kind, self.number, self.scratch = plan, base, kind, number, scratch
        self.reference = base_reference(base)
        self.world: World = make_world(kind, number)
        self.truth = [*self.world.rows, *self.world.targets]
        pool, tokenizer = self.world.pool(), self.reference.tokenizer
        self.rows = [training_row(tokenizer, str(row["problem"]), str(row["solution"])) for row in self.truth]
        self.tokens = np.array([len(row.ids) for row in self.rows])
        problem_length, solution_length = (
            np.array([len(ids) for ids in tokenizer(list(pool.examples[name]), add_special_tokens=False)["input_ids"]])
            for name in ("problem", "completion")
        )
        steps = np.array([row["num_steps"] for row in self.world.rows])
        seen = self.world.unsolved_pool() if plan.before_solutions else pool
        self.candidates = Candidates(seen, problem_length, solution_length, steps)
        self.test = list(self.world.problems())
        self.methods = {str(method["name"]): method for method in plan.methods}
        self.orders: dict[str, Ordered] = {}
        drawn = np.random.default_rng(self.seed("probe")).permutation(len(pool))[: plan.probe_rows]
        self.starts = {"targets": np.arange(len(pool), len(self.rows)), "probe": drawn}
        self.heads = self._heads(rows_folder)
        write_jsonl(scratch / TARGETS, self.world.targets)

    def _heads(self, rows_folder: Path) -> dict[str, HeadSet]:
        if not self.plan.before_solutions:
            return shared_heads(self.plan, self.base, self.kind, rows_folder, self.scratch)
        bought = [self.world.rows[place] for place in self.starts["probe"]]
        about = {"base": self.base, "kind": self.kind, "replicate": self.number}
        path = head_file(rows_folder, self.base, self.kind, self.number)
        return find_head_sets(self.reference, lambda: Dataset.from_list(bought), about, path, self.scratch / "heads")

    def seed(self, *parts: object) -> int:
        return seed_of(*parts, self.kind, self.number)

    def ordered(self, name: str) -> Ordered:
        """The pool in the order of a method that needs no budget."""
        if name not in self.orders:
            seed = self.seed("draw") % 2**32
            keys = self.methods[name]
            self.orders[name] = order_by(keys, self.candidates, self.reference, self.heads, seed, self.scratch)
        return self.orders[name]

    def order(self, name: str, budget: Mapping[str, int]) -> np.ndarray:
        """All places that a method may get, in its order."""
        keys = self.methods[name]
        if not chooses(keys):
            return np.array([], dtype=int)
        if "matched" not in keys:
            return self.ordered(name).order
        to, by = keys["matched"]["to"], keys["matched"]["by"]
        own = np.setdiff1d(self.chosen(to, budget), self.first(to))
        return matched_order(own, getattr(self.candidates, by), np.random.default_rng(self.seed("matched", name)))

    def first(self, name: str) -> np.ndarray:
        """Places of the rows that a method starts with."""
        start = self.methods[name].get("starts_with")
        return np.array([], dtype=int) if start is None else self.starts[start]

    def chosen(self, name: str, budget: Mapping[str, int]) -> np.ndarray:
        """Places of the rows that a method trains on within a budget."""
        first, order = self.first(name), self.order(name, budget)
        return within(np.concatenate([first, order[~np.isin(order, first)]]), self.tokens, budget)

    def row(self, name: str, budget: Mapping[str, int]) -> dict[str, Any]:
        """Trains on what a method chooses, and measures."""
        rows = np.sort(self.chosen(name, budget))
        started = time.perf_counter()
        examples = [self.rows[place] for place in rows]
        model = deepcopy(self.reference.model()).requires_grad_(True)
        batches = order_of([len(row.ids) for row in examples], self.plan.settings, self.seed("order"))
        train(model, examples, batches, self.plan.settings)
        found = measure(
            model.requires_grad_(False), self.reference, self.test, [int(row["num_steps"]) for row in self.world.test]
        )
        seconds = time.perf_counter() - started
        truth = [self.truth[place] for place in rows]
        others = [self.chosen("random", budget)] if any(each["name"] == "random" for each in self.plan.methods) else []
        return {
            "num_rows": len(rows),
            "training_tokens": int(self.tokens[rows].sum()),
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
    replicate = Replicate(plan, base, kind, number, rows_folder, scratch / path.stem)
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
    if not plan.before_solutions:
        for base, kind in product(plan.bases, plan.kinds):  # once, before the processes that all need them
            shared_heads(plan, base, kind, rows_folder, scratch)

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
