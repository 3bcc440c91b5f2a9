"""Two runs on the same problems: the difference, its interval and its sign test against slow and obvious second ways."""

import random
from itertools import combinations
from pathlib import Path

import pytest
from scipy.stats import binomtest

from circuitseer_trl.evaluation.paired import (
    average_difference,
    benchmark_difference,
    compare_runs,
    problem_differences,
    sign_test,
)
from circuitseer_trl.evaluation.verdicts import mean_pass_at_k, read_verdicts
from tests.helpers.evaluation_folders import write_run


def test_sign_test_is_the_binomial_test():
    for better in range(13):
        for worse in range(13):
            expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
            assert sign_test(better, worse) == pytest.approx(expected)
    assert sign_test(5, 0) == 2 / 32  # five heads or five tails
    assert sign_test(1200, 1100) == pytest.approx(binomtest(1200, 2300).pvalue)


def test_a_hand_case():
    run = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.5, "e": 0.0}
    baseline = {"e": 0.0, "d": 1.0, "c": 0.0, "b": 0.0, "a": 0.0}
    found = benchmark_difference(problem_differences(run, baseline))
    # Differences 0, -1/2, 1, 1, 1; of four coins at most one on one side: 2 * (1 + 4) / 16.
    assert found.value == pytest.approx(2.5 / 5)
    assert (found.num_better, found.num_worse) == (3, 1)
    assert found.p_value == pytest.approx(10 / 16)
    same = benchmark_difference(problem_differences(run, run))
    # Five problems without a difference, and half a problem of each kind: 1.96 sqrt(1) / 7.
    assert (same.value, same.interval, same.p_value) == (0, pytest.approx((-0.28, 0.28), abs=1e-4), 1)


def loop_bootstrap(benchmarks: list[list[float]], num_resamples: int = 4000) -> tuple[float, float]:
    generator, means = random.Random(1), []
    for _ in range(num_resamples):
        mean = 0.0
        for values in benchmarks:
            mean += sum(generator.choice(values) for _ in values) / len(values) / len(benchmarks)
        means.append(mean)
    means.sort()
    return means[round(0.025 * num_resamples)], means[round(0.975 * num_resamples)]


def test_intervals_are_those_of_a_plain_loop():
    generator = random.Random(2)
    few = [generator.choice([-1.0, 0.0, 0.0, 1.0, 1.0]) for _ in range(30)]
    many = [generator.choice([-1.0, 0.0, 0.0, 0.0, 0.25]) for _ in range(60)]
    assert benchmark_difference(few).interval == pytest.approx(loop_bootstrap([few]), abs=0.034)  # one of 30 steps
    found = average_difference([few, many])
    assert found.interval == pytest.approx(loop_bootstrap([few, many]), abs=0.02)
    assert found.value == pytest.approx((sum(few) / 30 + sum(many) / 60) / 2)
    assert found.num_better == sum(value > 0 for value in few + many)


def test_pairing_is_narrower_than_two_intervals():
    """Ninety problems that both runs find equally hard, and one in ten that only one of them solves."""
    values = {str(n): float(n % 2) for n in range(90)}
    better = values | {str(n): 1.0 for n in range(0, 90, 10)}
    found = benchmark_difference(problem_differences(better, values))
    assert found.value == pytest.approx(0.1)
    assert found.interval[0] > 0.04
    assert found.p_value == pytest.approx(2 / 2**9)


def test_runs_on_disk(tmp_path: Path):
    base = write_run(tmp_path / "base", {"x": ["+", "-", "-"], "y": [".++--", ".----"]}, {"seed": 1, "batch_size": 8})
    run = write_run(tmp_path / "run", {"x": ["+", "+", "-"], "y": [".+++-", ".---+"]}, {"seed": 2, "batch_size": 9})
    found = compare_runs(*run, *base)
    # Of y the first problem's vote is a tie in the baseline, and won in the run; the second is lost in both. x has no vote.
    assert {name: each.value for name, each in found.majority.items()} == {"y": (1 - 1 / 2) / 2}
    assert (found.majority["y"].num_better, found.majority["y"].num_worse, found.majority_average) == (1, 0, None)
    assert found.benchmarks["x"].value == pytest.approx(1 / 3)
    assert found.benchmarks["y"].value == pytest.approx(1 / 4)
    assert (found.benchmarks["y"].num_better, found.benchmarks["y"].num_worse) == (2, 0)
    assert found.average.value == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert (found.average.num_better, found.average.p_value) == (3, 2 / 8)
    assert found.settings == [("seed", 1, 2)]
    assert compare_runs(*base, *base).settings == []


def test_what_cannot_be_paired_is_said(tmp_path: Path):
    base = write_run(tmp_path / "base", {"x": ["+", "-", "-"], "y": ["+"]})
    fewer = write_run(tmp_path / "fewer", {"x": ["+", "-"], "z": ["+"]})
    found = compare_runs(*fewer, *base)
    assert "not the same problems: 2 here and 3 in the baseline, 1 of them in only one, for instance x-2" in str(
        found.benchmarks["x"]
    )
    assert found.benchmarks["y"] == "only the baseline has it"
    assert found.benchmarks["z"] == "only this run has it"
    assert found.average == "no difference of x, y, z"

    other = write_run(tmp_path / "other", {"x": ["+", "-", "-"], "y": ["+"]})
    (tmp_path / "other" / "verdicts" / "y.jsonl").unlink()
    assert "There is no" in str(compare_runs(*other, *base).benchmarks["y"])
    other[1]["benchmarks"]["x"]["pass_at_1"] = 0.5
    assert "0.3333, and results.json 0.5: they are not of one evaluation" in str(
        compare_runs(*other, *base).benchmarks["x"]
    )
    (tmp_path / "other" / "verdicts" / "y.jsonl").write_text('{"id": "y-0"}\n')
    with pytest.raises(ValueError, match=r"Line 1 of .* is not a verdict"):
        read_verdicts(tmp_path / "other", "y")


def test_pass_at_any_k_by_counting_the_draws(tmp_path: Path):
    words = ["-+---+", "+++++-", "------"]
    folder, _ = write_run(tmp_path, {"x": words})
    verdicts = read_verdicts(folder, "x")
    assert "".join("+" if right else "-" for right in verdicts["x-0"].sampled) == words[0][1:]
    for k in range(1, 6):
        draws = [draw for word in words for draw in combinations(word[1:], k)]
        assert mean_pass_at_k(verdicts, k) == pytest.approx(sum("+" in draw for draw in draws) / len(draws))
