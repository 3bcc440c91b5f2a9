"""Speed and memory of grading many answers."""

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from circuitseer_trl.evaluation.benchmark_files import paper_benchmarks
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.grading.grader import Grader, Question

CHUNK = 2000


def perturbed(folder: Path, count: int) -> Iterator[tuple[str, Question]]:
    """Answers to the nine benchmarks' problems, no two alike: right ones in other words, and wrong ones."""
    problems = [p for name in paper_benchmarks() for p in load_benchmark(name, folder) if p.gold]
    for number in range(count):
        problem = problems[number % len(problems)]
        turn = number // len(problems)
        answer = f"{problem.gold} + {turn}" if turn % 2 else f"{problem.gold} \\cdot {Fraction(turn + 2, turn + 1)}"
        yield f"So $\\boxed{{{answer}}}$.", Question(problem.gold, problem.choices)


@pytest.mark.slow
def test_a_hundred_thousand_answers_in_constant_memory(shared: Path):
    sizes: list[int] = []
    start = time.process_time()
    items = perturbed(shared / "benchmarks", 100_000)
    with Grader(num_workers=2) as grader:
        for _ in range(100_000 // CHUNK):
            grader.grade([next(items) for _ in range(CHUNK)])
            workers = [psutil.Process(worker.process.pid) for worker in grader._pool.workers if worker.process]
            sizes.append(sum(process.memory_info().rss for process in [psutil.Process(), *workers]))
        cpu = time.process_time() - start + sum(sum(process.cpu_times()[:2]) for process in workers)
    print(f"{sizes[4] >> 20} MiB after {5 * CHUNK} answers, {sizes[-1] >> 20} MiB after {len(sizes) * CHUNK}")
    print(f"{1000 * cpu / 100_000:.2f} ms of CPU an answer")
    # The cache of equal pairs fills up to its limit; beside it nothing may grow.
    assert sizes[-1] - sizes[len(sizes) // 2] < 48 << 20
