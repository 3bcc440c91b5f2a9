"""Which problems does the demo use? Synthetic word problems of one to six steps, with worked solutions.

python -m circuitseer_trl.demo.word_problems --output_dir DIR
"""

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["corpus", "pool", "benchmark"]
Row = dict[str, str | int]

MAX_STEPS = 6
# Two digits: a small model learns this arithmetic fully, so its errors are in the reasoning over several steps.
MAX_VALUE = 99
# Shares of the pool by number of steps, about geometric: like a real pool, most of it is easy.
POOL_WEIGHTS = tuple(0.6**step for step in range(MAX_STEPS))
# Share of the pool's solutions that are wrong. With it, a draw from the right ones is worth twice the difference that the demo's
# five seeds can detect (docs/demo.md).
WRONG_RATIO = 0.6

NAMES = (
    *((name, "He", "his") for name in ("Tom", "Sam", "Ben", "Max", "Leo", "Dan", "Omar", "Ravi")),
    *((name, "She", "her") for name in ("Mia", "Ana", "Eva", "Lucy", "Nina", "Sara", "Mei", "Zoe")),
)
OBJECTS = (
    "apples",
    "books",
    "coins",
    "cards",
    "shells",
    "pens",
    "eggs",
    "stamps",
    "marbles",
    "beads",
    "stickers",
    "nuts",
)
OPENINGS = (
    "{name} has {n} {objects}.",
    "{name} starts with {n} {objects}.",
    "{name} counts {n} {objects} in {poss} box.",
    "In the morning, {name} has {n} {objects}.",
)
LEADS = (
    "{pron} {clause}.",
    "Then {pron_lower} {clause}.",
    "After that, {pron_lower} {clause}.",
    "Later {name} {clause}.",
)
QUESTIONS = (
    "How many {objects} does {name} have now?",
    "How many {objects} does {name} have in the end?",
    "Find the number of {objects} that {name} has now.",
)
CLAUSES = {
    "+": (
        "buys {n} more",
        "finds {n} more {objects}",
        "gets {n} from {other}",
        "wins {n} {objects}",
        "picks up {n} more",
    ),
    "-": ("gives {n} to {other}", "loses {n}", "sells {n} {objects}", "uses {n} of them", "drops {n}"),
    "*2": ("gets as many again", "doubles {poss} {objects}"),
    "*3": ("triples {poss} {objects}",),
    "/2": ("gives half of them to {other}", "sells half of the {objects}", "loses half of them"),
}
# Sentences without effect, some of them with a number, so that a problem's length is not its number of steps.
FILLERS = (
    "The sun is out and the day is warm.",
    "{other} likes to sing.",
    "{name} is {n} years old.",
    "It is {n} in the afternoon.",
    "The {objects} are red and blue.",
    "{other} and {name} are good friends who live in the same street.",
    "{name} keeps the {objects} in a box.",
    "Nobody else is there.",
)


@dataclass(frozen=True)
class Change:
    """One change of the count: its kind, its number, its line of the solution, and the new count."""

    kind: str
    operand: int
    equation: str
    result: int


def draw_step(value: int, rng: random.Random) -> Change:
    """Draws a change that keeps the count a whole number between 1 and `MAX_VALUE`."""
    kinds = ["+"] * 3 * (value + 12 <= MAX_VALUE) + ["-"] * 3 * (value > 12)
    kinds += ["*2"] * (2 * value <= MAX_VALUE) + ["*3"] * (3 * value <= MAX_VALUE) + ["/2"] * (value % 2 == 0)
    kind = rng.choice(kinds)
    operand = int(kind[1:]) if kind[1:] else rng.randint(2, 12)
    results = {"+": value + operand, "-": value - operand, "*": value * operand, "/": value // operand}
    result = results[kind[0]]
    return Change(kind, operand, f"{value}{kind[0]}{operand}={result}", result)


def draw_problem(num_steps: int, rng: random.Random) -> Row:
    """Draws a problem of `num_steps` steps with its worked solution."""
    (name, pron, poss), (other, _, _) = rng.sample(NAMES, 2)
    words = {
        "name": name,
        "other": other,
        "pron": pron,
        "pron_lower": pron.lower(),
        "poss": poss,
        "objects": rng.choice(OBJECTS),
    }
    start = rng.randint(4, 40)
    steps: list[Change] = []
    for _ in range(num_steps):
        steps.append(draw_step(steps[-1].result if steps else start, rng))
    clauses = [rng.choice(CLAUSES[step.kind]).format(n=step.operand, **words) for step in steps]
    sentences = [rng.choice(OPENINGS).format(n=start, **words)]
    while clauses:
        # Two steps may share a sentence, so that the number of sentences is not the number of steps.
        size = 2 if len(clauses) > 1 and rng.random() < 0.25 else 1
        clause, clauses = " and then ".join(clauses[:size]), clauses[size:]
        sentences.append(rng.choice(LEADS).format(clause=clause, **words))
    for filler in rng.sample(FILLERS, rng.choice((0, 0, 1, 2, 3))):
        sentences.insert(rng.randint(1, len(sentences)), filler.format(n=rng.randint(2, 12), **words))
    sentences.append(rng.choice(QUESTIONS).format(**words))
    lines = [step.equation for step in steps]
    answer = str(steps[-1].result)
    return {
        "problem": " ".join(sentences),
        "solution": "\n".join([*lines, f"The answer is \\boxed{{{answer}}}."]),
        "answer": answer,
        "num_steps": num_steps,
    }


def with_wrong_solution(row: Row, rng: random.Random) -> Row:
    """The same problem with a solution that goes wrong at one of its steps: the rest follows from steps that it does not have."""
    *lines, _ = str(row["solution"]).split("\n")
    first = rng.randrange(len(lines))
    value = int(lines[first].replace("+", " ").replace("-", " ").replace("*", " ").replace("/", " ").split()[0])
    while True:
        steps: list[Change] = []
        for _ in lines[first:]:
            steps.append(draw_step(steps[-1].result if steps else value, rng))
        if steps[0].equation != lines[first] and str(steps[-1].result) != row["answer"]:
            break
    equations = [*lines[:first], *(step.equation for step in steps)]
    solution = "\n".join([*equations, f"The answer is \\boxed{{{steps[-1].result}}}."])
    return row | {"solution": solution, "answer": str(steps[-1].result), "solution_is": "wrong"}


def split_of(problem: str) -> Split:
    """Returns the split of a text. It depends only on the text, so splits never overlap."""
    digit = int(hashlib.sha256(problem.encode()).hexdigest()[0], 16)
    return "benchmark" if digit == 0 else "pool" if digit < 4 else "corpus"


def problems(split: Split, nums_steps: Iterator[int], rng: random.Random) -> Iterator[Row]:
    """Yields problems of one split without repeats, one for each item of `nums_steps`."""
    seen: set[str] = set()
    for num_steps in nums_steps:
        row = draw_problem(num_steps, rng)
        while split_of(str(row["problem"])) != split or row["problem"] in seen:
            row = draw_problem(num_steps, rng)
        seen.add(str(row["problem"]))
        name: Row = {"id": f"{split}-{len(seen) - 1:05d}"}
        yield name | row


def make_pool(size: int, seed: int, wrong_ratio: float = WRONG_RATIO) -> list[Row]:
    """Makes the pool of `size` problems, most of them of few steps. A share has a wrong solution: `solution_is`."""
    rng = random.Random(seed)
    rows = list(problems("pool", iter(rng.choices(range(1, MAX_STEPS + 1), POOL_WEIGHTS, k=size)), rng))
    wrong = set(rng.sample(range(size), round(wrong_ratio * size)))
    return [
        with_wrong_solution(row, rng) if place in wrong else row | {"solution_is": "right"}
        for place, row in enumerate(rows)
    ]


def make_benchmark(size: int, seed: int) -> list[Row]:
    """Makes the held-out benchmark of `size` problems, with every number of steps equally often."""
    return list(problems("benchmark", (index % MAX_STEPS + 1 for index in range(size)), random.Random(seed)))


def write_jsonl(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the demo's pool and benchmark.", allow_abbrev=False)
    parser.add_argument(
        "--output_dir",
        type=Path,
        required=True,
        help="Folder for pool.jsonl, held_out.jsonl and benchmark/word_problems/test.jsonl.",
    )
    parser.add_argument("--pool_size", type=int, default=2000)
    parser.add_argument("--benchmark_size", type=int, default=300)
    parser.add_argument("--wrong_ratio", type=float, default=WRONG_RATIO, help="Share of wrong solutions in the pool.")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    held_out = make_benchmark(args.benchmark_size, args.seed)
    benchmark = [{key: value for key, value in row.items() if key != "solution"} for row in held_out]
    write_jsonl(args.output_dir / "pool.jsonl", make_pool(args.pool_size, args.seed, args.wrong_ratio))
    write_jsonl(args.output_dir / "held_out.jsonl", held_out)
    write_jsonl(args.output_dir / "benchmark" / "word_problems" / "test.jsonl", benchmark)


if __name__ == "__main__":
    main()
