"""What a benchmark's samples come to: a case small enough to count by hand, and the paper's average."""

import pytest

from circuitseer_trl.answers import Sample, VerdictLine
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.judging import judge_samples
from circuitseer_trl.evaluation.results import measure_average, measure_benchmark
from circuitseer_trl.grading.grader import Grader, Verdict

# Greedy answer, then four sampled ones: text and finish reason. The gold answers are 1 and 2.
ANSWERS = {
    "x-0": [("1", "stop"), ("1", "stop"), ("1.0", "stop"), ("7", "length"), (None, "length")],
    "x-1": [("3", "length"), ("2", "stop"), ("5", "stop"), ("5.0", "stop"), ("2", "length")],
}


def measured(grader: Grader, *, greedy: bool, vote: str = "classes") -> tuple[dict, list[VerdictLine]]:
    problems = [Problem("x-0", "?", "1", benchmark="x"), Problem("x-1", "?", "2", benchmark="x")]
    samples = {}
    for problem, answers in ANSWERS.items():
        for number, (answer, finish) in enumerate(answers):
            text = "no answer" if answer is None else f"\\boxed{{{answer}}}"
            sample = Sample(problem, number == 0, max(0, number - 1), text, 10 * (number + 1), finish, 0, "")
            samples[sample.key] = sample
    lines = judge_samples(problems, samples, greedy=greedy, num_samples=4, vote=vote, grader=grader)
    return measure_benchmark(lines, samples, vote=vote), lines


@pytest.fixture(scope="module")
def grader():
    with Grader(num_workers=1) as grader:
        yield grader


def test_greedy_and_samples_by_hand(grader: Grader):
    result, lines = measured(grader, greedy=True)
    assert (result["pass_at_1"], result["pass_at_1_from"]) == (1 / 2, "greedy")
    assert result["avg_at_n"] == (2 / 4 + 2 / 4) / 2
    assert result["pass_at_k"] == {"1": 1 / 2, "2": pytest.approx(5 / 6), "4": 1}  # of six pairs, one is all wrong
    # x-0: two votes of three for 1. x-1: a tie of 2 and 5, and half of the leaders are right.
    assert result["majority_at_n"] == (1 + 1 / 2) / 2
    assert result["accuracy_finished"] == 1  # of the two greedy answers one was cut
    assert result["truncated_ratio"] == 4 / 10
    assert result["unanswered_ratio"] == 1 / 10
    assert result["timeout_ratio"] == 0
    assert result["mean_tokens"] == 30
    assert [line.vote_class for line in lines] == [None, 0, 0, 1, None, None, 0, 1, 1, 0]
    assert {line.reference for line in lines[:5]} == {"1"}


def test_samples_alone_by_hand(grader: Grader):
    result, lines = measured(grader, greedy=False)
    assert (result["pass_at_1"], result["pass_at_1_from"], result["avg_at_n"]) == (1 / 2, "samples", 1 / 2)
    assert result["accuracy_finished"] == 3 / 5
    assert result["truncated_ratio"] == 3 / 8
    assert len(lines) == 8


def test_the_vote_of_the_papers_preset_is_over_raw_strings(grader: Grader):
    result, lines = measured(grader, greedy=False, vote="raw")
    assert [line.vote_class for line in lines] == [0, 1, 2, None, 0, 1, 2, 0]
    # x-0: 1, 1.0 and 7 have a vote each, and 1 was first. x-1: two votes for 2, one each for 5 and 5.0.
    assert result["majority_at_n"] == 1


def test_nothing_finished_has_no_accuracy(grader: Grader):
    problem = Problem("x-0", "?", "1", benchmark="x")
    sample = Sample("x-0", True, 0, "\\boxed{1}", 5, "length", 0, "")
    samples = {sample.key: sample}
    lines = judge_samples([problem], samples, greedy=True, num_samples=0, vote="raw", grader=grader)
    result = measure_benchmark(lines, samples, vote="raw")
    assert (result["pass_at_1"], result["accuracy_finished"], result["truncated_ratio"]) == (1, None, 1)
    assert (result["avg_at_n"], result["majority_at_n"], result["pass_at_k"]) == (None, None, {})


def test_answers_that_the_grader_gave_up_are_counted(monkeypatch: pytest.MonkeyPatch):
    reasons = {
        "a": "timeout",
        "b": "crash",
        "c": "number",
        "d": "no_answer",
        "e": "not_understood",
        "f": "error: KeyError",
    }
    reasons |= {"g": "too_long", "h": "too_costly"}
    verdicts = [Verdict(text == "c", text, reason) for text, reason in reasons.items()]
    grader = Grader(num_workers=1)
    monkeypatch.setattr(grader, "grade", lambda items: verdicts)
    problems = [Problem(f"x-{text}", "?", "1", benchmark="x") for text in reasons]
    samples = [Sample(problem.id, True, 0, "", 5, "stop", 0, "") for problem in problems]
    by_key = {sample.key: sample for sample in samples}
    lines = judge_samples(problems, by_key, greedy=True, num_samples=0, vote="classes", grader=grader)
    result = measure_benchmark(lines, by_key, vote="classes")
    assert (result["timeout_ratio"], result["undecided_ratio"], result["pass_at_1"]) == (2 / 8, 6 / 8, 1 / 8)
    assert [line.id for line in lines if line.undecided] == ["x-a", "x-b", "x-e", "x-f", "x-g", "x-h"]
    assert not Verdict(True, "1", "too_long").undecided  # the texts are the same


@pytest.mark.parametrize(
    ("values", "average"),
    [
        # Table 1 of the paper, Qwen2.5-Math-7B-Base: Random and CircuitSeer, and CircuitSeer on Llama-3.1-8B-Instruct.
        ([35.2, 30.0, 75.0, 87.2, 50.7, 49.2, 76.4, 80.9, 65.9], 61.2),
        ([37.5, 31.5, 80.3, 88.4, 53.9, 55.3, 78.2, 84.3, 71.4], 64.5),
        ([4.2, 6.9, 31.4, 54.6, 25.3, 17.1, 54.5, 62.4, 44.0], 33.4),
    ],
)
def test_the_average_is_the_papers(values: list[float], average: float):
    """The mean of nine Pass@1, whatever the number of problems; Majority@16 takes no part."""
    sizes = [30, 30, 40, 500, 675, 199, 385, 351, 91]
    benchmarks = {
        str(number): {"pass_at_1_values": [value / 100] * size, "majority_values": [1.0] * size if number < 3 else []}
        for number, (value, size) in enumerate(zip(values, sizes, strict=True))
    }
    found = measure_average(benchmarks)
    assert round(100 * found["pass_at_1"], 1) == average
    assert (found["num_benchmarks"], found["num_benchmarks_with_majority"], found["majority_at_n"]) == (9, 3, 1)
