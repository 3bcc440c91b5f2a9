"""Every reference of the benchmarks, and GSM8K's, rewritten: what keeps its value is right, what changes it is wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.benchmark_files import paper_benchmarks
from circuitseer_trl.evaluation.benchmarks import Problem, load_benchmark
from circuitseer_trl.grading.asking import asked_in
from circuitseer_trl.grading.equivalence import compare
from tests.grading.rewritings import bare, changed, kept, kind_of

# References that spell one answer twice, where leaving out one spelling changes nothing.
SPELLED_TWICE = {"gaokao2024_mix-11", "gaokao2024_mix-13"}


def references(shared: Path) -> list[Problem]:
    return [p for name in paper_benchmarks() for p in load_benchmark(name, shared / "benchmarks") if p.gold.strip()]


def check(problems: list[Problem]) -> tuple[Counter[tuple[str, str, bool]], list[tuple[str, ...]]]:
    """How many answers of each type were made and accepted, and the verdicts that are wrong."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    wrong = []
    for problem in problems:
        kind = kind_of(bare(problem.gold))
        asked = asked_in(problem.question)
        in_order = asked.orders(bare(problem.gold).count(",") + 1)
        for right, rewritings in ((True, kept), (False, changed)):
            for name, answer in rewritings(problem.gold, in_order):
                if not answer or (not right and (problem.id in SPELLED_TWICE or (name == "percent" and asked.percent))):
                    continue
                judgement = compare(problem.gold, answer, problem.choices, problem.question)
                counts[kind, "kept" if right else "changed", judgement.correct] += 1
                if judgement.correct is not right:
                    wrong.append(
                        (problem.id, "kept" if right else "changed", name, problem.gold, answer, judgement.reason)
                    )
    return counts, wrong


def assert_all_told_apart(problems: list[Problem], least: int) -> None:
    counts, wrong = check(problems)
    for (kind, sort, accepted), number in sorted(counts.items()):
        print(f"{kind:12} {sort:8} {'accepted' if accepted else 'refused':9} {number}")
    assert sum(counts.values()) >= least
    assert [each for each in wrong if each[1] == "changed"] == []
    right = sum(number for (_, sort, _), number in counts.items() if sort == "kept")
    assert len([each for each in wrong if each[1] == "kept"]) <= 0.01 * right, wrong


@pytest.mark.thorough
def test_rewritings_of_a_hundred_references(shared: Path):
    assert_all_told_apart(references(shared)[::23], least=1500)


@pytest.mark.slow
def test_rewritings_of_all_references(shared: Path):
    assert_all_told_apart(references(shared), least=40_000)


@pytest.mark.slow
def test_rewritings_of_gsm8k(shared: Path):
    lines = (shared / "gsm8k" / "test.jsonl").read_text().splitlines()
    golds = [json.loads(line)["answer"].rpartition("####")[2].strip().replace(",", "") for line in lines]
    problems = [Problem(f"gsm8k-{number}", "", gold) for number, gold in enumerate(golds)]
    assert_all_told_apart(problems, least=20_000)
