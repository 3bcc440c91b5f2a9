"""Every number of `results.json` is computed again, slowly, from the lines of generations/ and verdicts/ alone."""

import json
import random
from collections.abc import Iterator
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate, num_unreadable
from circuitseer_trl.grading.grader import Grader

QUESTIONS = {
    "quiz": [
        ("What is 1 + 1?", "2"),
        ("Half of 1?", "1/2"),
        ("Name a prime.", ""),
        ("What is 2 + 3?", 5),
        ("4 - 4?", 0.0),
    ],
    "other": [("What is 7 + 1?", "8"), ("What is 3 + 1?", "4"), ("What is 9 + 9?", "18")],
}
BOXES = [
    r"\boxed{2}",
    r"\boxed{0.5}",
    r"\boxed{\frac12}",
    r"\boxed{5}",
    r"\boxed{\qux{(}}",
    "none",
    r"\boxed{8.0}",
    r"\boxed{}",
]
Lines = list[dict[str, Any]]


SPECIFICATION = "{hub: null, number: 3, question: problem, answer: answer, samples: 5}"


@pytest.fixture(scope="module", params=[("classes", 5), ("raw", 5), ("classes", None)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Replayed evaluations: of greedy and sampled answers; and of one benchmark with greedy ones, one with sampled ones alone."""
    vote, num_samples = request.param
    folder, chance = tmp_path_factory.mktemp(vote), random.Random(3)
    (folder / "eval" / "benchmarks").mkdir(parents=True)
    (folder / "eval" / "benchmarks" / "other.yaml").write_text(SPECIFICATION)
    answers = []
    for name, rows in QUESTIONS.items():
        (folder / "rows" / name).mkdir(parents=True)
        lines = [json.dumps({"problem": problem, "answer": answer}) + "\n" for problem, answer in rows]
        (folder / "rows" / name / "test.jsonl").write_text("".join(lines))
        for number, (_, right) in enumerate(rows):
            choices = [f"\\boxed{{{right}}}"] * 3 + BOXES
            for greedy, sample in [(True, 0), *((False, sample) for sample in range(5))]:
                text = chance.choice(choices) if number else BOXES[4 if greedy else sample]
                answers.append({"id": f"{name}-{number}", "greedy": greedy, "sample": sample, "text": text})
                answers[-1] |= {"num_tokens": chance.randint(1, 9), "finish_reason": chance.choice(["stop", "length"])}
    (folder / "answers.jsonl").write_text("".join(json.dumps(each) + "\n" for each in answers))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate(
            EvaluationConfig(
                *("m", str(folder), ["quiz", "other"], str(folder / "rows")),
                backend="replay",
                replay_from=str(folder / "answers.jsonl"),
                num_samples=num_samples,
                limit=4,
                vote=vote,
                num_grading_workers=1,
            )
        )
        yield folder


def mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)


def by_problem(lines: Lines) -> list[Lines]:
    return [[line for line in lines if line["id"] == name] for name in dict.fromkeys(line["id"] for line in lines)]


def vote_of(drawn: Lines, vote: str) -> float:
    votes: dict[int, int] = {}
    for line in drawn:
        if line["vote_class"] is not None:
            votes[line["vote_class"]] = votes.get(line["vote_class"], 0) + 1
    leaders = [name for name, number in votes.items() if number == max(votes.values())]
    rights = [next(line["verdict"] for line in drawn if line["vote_class"] == leader) for leader in leaders]
    return float(rights[0] if vote == "raw" else mean(rights)) if rights else 0.0


def numbers_of(verdicts: Lines, generations: Lines, vote: str) -> dict[str, Any]:
    ends = {(line["id"], line["greedy"], line["sample"]): line for line in generations}
    wanted = [ends[line["id"], line["greedy"], line["sample"]] for line in verdicts]
    problems = by_problem(verdicts)
    drawn = [[line for line in lines if not line["greedy"]] for lines in problems]
    greedy = any(line["greedy"] for line in verdicts)
    counted = [[line["verdict"] for line in lines if line["greedy"] == greedy] for lines in problems]
    finished = [
        line["verdict"]
        for line, end in zip(verdicts, wanted, strict=True)
        if line["greedy"] == greedy and end["finish_reason"] == "stop"
    ]
    return {
        "num_problems": len(problems),
        "num_samples": len(drawn[0]),
        "pass_at_1": mean(map(mean, counted)),
        "pass_at_1_from": "greedy" if greedy else "samples",
        "accuracy_finished": mean(finished) if finished else None,
        "avg_at_n": mean(mean(line["verdict"] for line in lines) for lines in drawn) if drawn[0] else None,
        "majority_at_n": mean(vote_of(lines, vote) for lines in drawn) if drawn[0] else None,
        "pass_at_k": {
            str(k): mean(
                mean(any(line["verdict"] for line in draw) for draw in combinations(lines, k)) for lines in drawn
            )
            for k in (1, 2, 4)
            if drawn[0]
        },
        "truncated_ratio": mean(end["finish_reason"] != "stop" for end in wanted),
        "unanswered_ratio": mean(line["extracted"] is None for line in verdicts),
        "undecided_ratio": mean(line["undecided"] for line in verdicts),
        "timeout_ratio": mean(line["reason"] in ("timeout", "crash") for line in verdicts),
        "no_gold": sum(lines[0]["reference"] == "" for lines in problems),
        "num_errata": sum("erratum" in lines[0] for lines in problems),
        "mean_tokens": mean(end["num_tokens"] for end in wanted),
    }


def wilson(share: float, total: int) -> tuple[float, float]:
    """The shares p whose distance to `share` is 1.96 standard errors of p: (1 + z²/n) p² - (2s + z²/n) p + s² = 0."""
    z2 = 1.959963984540054**2
    a, b, c = 1 + z2 / total, -(2 * share + z2 / total), share * share
    root = sqrt(b * b - 4 * a * c)
    return max(0.0, (-b - root) / (2 * a)), min(1.0, (-b + root) / (2 * a))


def test_results_are_the_verdicts_and_generations(folder: Path):
    results = json.loads((folder / "results.json").read_text())
    vote, found = results["settings"]["vote"], {}
    for name, measured in results["benchmarks"].items():
        verdicts, generations = (
            [json.loads(line) for line in (folder / kind / f"{name}.jsonl").read_text().splitlines()]
            for kind in ("verdicts", "generations")
        )
        found[name] = numbers_of(verdicts, generations, vote)
        for key, value in found[name].items():
            assert measured[key] == (value if value is None else pytest.approx(value)), key
        if found[name]["pass_at_1_from"] == "greedy":
            wanted = wilson(found[name]["pass_at_1"], found[name]["num_problems"])
            assert measured["pass_at_1_interval"] == pytest.approx(wanted)
        # What is left are intervals from resampling, times, and what the numbers are of.
        left = measured.keys() - found[name].keys() - {"pass_at_1_interval"}
        assert left == {
            *("majority_at_n_interval", "seconds", "tokens_per_second"),
            *("benchmark_size", "benchmark_checksum", "verdicts_digest", "num_unreadable_references"),
        }
        assert measured["benchmark_size"] == len(QUESTIONS[name])
        for key in ("pass_at_1", "majority_at_n"):
            low, high = measured[f"{key}_interval"] or (None, None)
            assert (low is None and measured[key] is None) or low <= measured[key] <= high
    average = results["average"]
    voted = sum(each["num_samples"] > 0 for each in found.values())
    assert (average["num_benchmarks"], average["num_benchmarks_with_majority"]) == (2, voted)
    for key in ("pass_at_1", "majority_at_n"):
        assert average[key] == pytest.approx(mean(each[key] for each in found.values() if each[key] is not None))
    distances = [
        [
            abs(each["pass_at_1"] - end)
            for each in results["benchmarks"].values()
            for end in [each["pass_at_1_interval"][side]]
        ]
        for side in (0, 1)
    ]
    below, above = (sqrt(sum(each * each for each in side)) / 2 for side in distances)
    expected = [average["pass_at_1"] - below, average["pass_at_1"] + above]
    assert average["pass_at_1_interval"] == pytest.approx(expected)
    # The case is one where these numbers differ from each other.
    quiz = results["benchmarks"]["quiz"]
    assert quiz["undecided_ratio"] > 0
    assert quiz["no_gold"] == 1
    assert voted == 1 or quiz["majority_at_n"] not in (quiz["pass_at_1"], quiz["avg_at_n"])


def test_votes_and_verdicts_are_what_the_lines_say(folder: Path):
    """Right answers are one class, and equal texts too; over raw strings classes are exactly the texts."""
    vote = json.loads((folder / "results.json").read_text())["settings"]["vote"]
    for name, rows in QUESTIONS.items():
        lines = [json.loads(line) for line in (folder / "verdicts" / f"{name}.jsonl").read_text().splitlines()]
        for lines_of_problem, (question, answer) in zip(by_problem(lines), rows, strict=False):
            assert lines_of_problem[0]["question"] == question
            assert lines_of_problem[0]["reference"] == str(answer)
            assert not any("question" in line or "reference" in line for line in lines_of_problem[1:])
            for one, other in combinations([line for line in lines_of_problem if not line["greedy"]], 2):
                if one["extracted"] and other["extracted"]:
                    same = one["vote_class"] == other["vote_class"]
                    if vote == "raw":
                        assert same == (one["extracted"] == other["extracted"])
                    else:
                        assert same or one["extracted"] != other["extracted"]
                        assert same or not (one["verdict"] and other["verdict"])
                        assert not same or one["verdict"] == other["verdict"]
                else:
                    assert None in (one["vote_class"], other["vote_class"])


def test_references_that_cannot_be_read_are_counted(caplog: pytest.LogCaptureFixture):
    golds = {"sum": "5", "word": r"\text{east}", "none": "", "broken": r"\weird{x}{"}
    problems = [Problem(name, "A question?", gold) for name, gold in golds.items()]
    with Grader(1) as grader:
        assert num_unreadable("quiz", problems, grader) == 1  # a problem without a reference is counted apart
    assert "quiz: the grader cannot read the reference of 1 of 4 problems, for instance ['broken']" in caplog.text
