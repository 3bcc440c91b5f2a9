"""What is a replicate? A fresh pool of word problems of some kind, and fresh test problems."""

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets

from circuitseer_trl.demo.word_problems import (
    MAX_STEPS,
    NAMES,
    OBJECTS,
    POOL_WEIGHTS,
    Row,
    make_benchmark,
    problems,
    split_of,
    with_wrong_solution,
)
from circuitseer_trl.pool.build import build_pool
from circuitseer_trl.pool.rows import Pool

POOL_SIZE, NUM_PROBLEMS, NUM_TARGETS = 2000, 300, 120
UNKNOWN = "Not bought yet."
# The demo's sentences without effect that name nobody: they fit every problem.
PADDING = ("The sun is out and the day is warm.", "It is {n} in the afternoon.", "Nobody else is there.")


@dataclass(frozen=True)
class Kind:
    """A kind of pool.

    Attributes:
        wrong: Share of the rows whose solution goes wrong at a step.
        padded: Share of the rows whose problem has three to six more sentences without effect.
        copies: Share of the rows that are another row of the pool with another person's name.
        weights: Shares of the problems with 1, 2, ... steps.
    """

    wrong: float = 0.0
    padded: float = 0.0
    copies: float = 0.0
    weights: tuple[float, ...] = POOL_WEIGHTS


KINDS = {
    "clean": Kind(),
    "noisy": Kind(wrong=0.3),
    "padded": Kind(padded=0.5),
    "duplicates": Kind(copies=0.4),
    "skewed": Kind(weights=tuple(0.4**step for step in range(MAX_STEPS))),
    "all": Kind(wrong=0.3, padded=0.5, copies=0.4),
}


def seed_of(*parts: object) -> int:
    """A seed that is a hash of its parts, so that no two draws of the bed share their random numbers."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:6])


@dataclass(frozen=True)
class World:
    """A replicate.

    Attributes:
        rows: The pool with its truth: `num_steps`, `solution_is`, `is_padded`, `copy_of`. No method sees these.
        test: Test problems with worked solutions, every number of steps equally often.
        targets: Other problems of the same kind as the test's, for methods that choose rows for a target.
    """

    rows: list[dict[str, Any]]
    test: list[Row]
    targets: list[dict[str, Any]]

    def pool(self) -> Pool:
        return build_pool(self._dataset(self.rows), name="bed", id_column="id", category_column=None)

    def unsolved_pool(self) -> Pool:
        """The pool before solutions are bought: all rows have the same text in place of a solution."""
        return replace(self, rows=[row | {"solution": UNKNOWN} for row in self.rows]).pool()

    def problems(self) -> Pool:
        return build_pool(self._dataset(self.test), name="bed test", id_column="id")

    @staticmethod
    def _dataset(rows: Sequence[Mapping[str, Any]]) -> datasets.Dataset:
        return datasets.Dataset.from_list([{key: row[key] for key in ("id", "problem", "solution")} for row in rows])


def make_world(
    kind: str,
    replicate: int,
    pool_size: int = POOL_SIZE,
    num_problems: int = NUM_PROBLEMS,
    num_targets: int = NUM_TARGETS,
) -> World:
    """Makes a replicate. Pools of different kinds and replicates are drawn independently, and so are their test problems."""
    pool = make_rows(KINDS[kind], pool_size, random.Random(seed_of("pool", kind, replicate)))
    held_out = make_benchmark(num_problems + num_targets, seed_of("test", kind, replicate))  # without repeats
    targets = [row | {"solution_is": "right", "origin": row["id"]} for row in held_out[num_problems:]]
    return World(pool, held_out[:num_problems], targets)


def make_rows(kind: Kind, size: int, rng: random.Random) -> list[dict[str, Any]]:
    """Draws a pool. Rows are copied first, then some get wrong solutions and padding, each independently of the others."""
    num_copies = round(kind.copies * size)
    steps = rng.choices(range(1, MAX_STEPS + 1), kind.weights, k=size - num_copies)
    rows: list[dict[str, Any]] = [{**row, "copy_of": None} for row in problems("pool", iter(steps), rng)]
    rows += [renamed(rng.choice(rows[: size - num_copies]), rng) for _ in range(num_copies)]
    rng.shuffle(rows)
    rows = [row | {"id": f"row-{place:05d}", "origin": row["id"]} for place, row in enumerate(rows)]
    wrong, padded = (set(rng.sample(range(size), round(share * size))) for share in (kind.wrong, kind.padded))
    return [
        (with_wrong_solution(row, rng) if place in wrong else row | {"solution_is": "right"})
        | {"problem": padded_problem(row["problem"], rng) if place in padded else row["problem"]}
        | {"is_padded": place in padded}
        for place, row in enumerate(rows)
    ]


def renamed(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same problem about a person and things of other names. Its text is one of the pool's, not one of the test's."""
    problem = row["problem"]
    [thing] = {word for word in OBJECTS if re.search(rf"\b{word}\b", problem.split(". ")[-1])}
    [(name, pronoun)] = {
        (each, other) for each, other, _ in NAMES if re.search(rf"\b{each}\b", problem.split(". ")[-1])
    }
    people = [each for each, other, _ in NAMES if other == pronoun and each not in problem]
    pairs = [(person, other) for person in people for other in OBJECTS if other not in problem]
    rng.shuffle(pairs)
    for person, other in pairs:
        changed = re.sub(rf"\b{thing}\b", other, re.sub(rf"\b{name}\b", person, problem))
        if split_of(changed) == "pool":
            return row | {"problem": changed, "copy_of": row["id"]}
    raise ValueError(f"No other names make a problem of the pool out of {problem!r}.")


def padded_problem(problem: str, rng: random.Random) -> str:
    """The problem with more sentences that change nothing, before its question. It is one of the pool's, not of the test's."""
    sentences = re.split(r"(?<=\.) ", problem)
    while True:
        longer = list(sentences)
        for _ in range(rng.randint(3, 6)):
            longer.insert(rng.randint(1, len(longer) - 1), rng.choice(PADDING).format(n=rng.randint(2, 12)))
        if split_of(" ".join(longer)) == "pool":
            return " ".join(longer)
