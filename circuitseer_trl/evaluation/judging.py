"""Is each answer right, and which answers vote together? The lines of a file in `verdicts/`."""

from collections.abc import Mapping
from dataclasses import replace

from circuitseer_trl.answers import Sample, SampleKey, VerdictLine
from circuitseer_trl.evaluation.benchmarks import Problem
from circuitseer_trl.grading.grader import Grader, Question, Verdict


def judge_samples(
    problems: list[Problem],
    samples: Mapping[SampleKey, Sample],
    *,
    greedy: bool,
    num_samples: int,
    vote: str,
    grader: Grader,
) -> list[VerdictLine]:
    """Grades the answers to a benchmark's problems, and groups the sampled ones into classes.

    Args:
        vote: `classes` of answers that are equal by the grader's rules, or `raw` for answers with the same text.
    """
    keys = [(True, 0)] * greedy + [(False, number) for number in range(num_samples)]
    questions = {problem.id: Question(problem.gold, problem.choices, problem.question) for problem in problems}
    wanted = [(problem, key) for problem in problems for key in keys]
    verdicts = grader.grade([(samples[problem.id, *key].text, questions[problem.id]) for problem, key in wanted])
    lines = []
    for number, problem in enumerate(problems):
        of_problem = verdicts[number * len(keys) : (number + 1) * len(keys)]
        classes: list[int | None] = [None] * greedy
        if num_samples:
            drawn = of_problem[greedy:]
            answers = [verdict.extracted for verdict in drawn]
            classes += _same_text(answers) if vote == "raw" else grader.classes(answers, drawn, questions[problem.id])
        lines += [
            replace(_line(problem, verdict), greedy=is_greedy, sample=sample, vote_class=vote_class)
            for (is_greedy, sample), verdict, vote_class in zip(keys, of_problem, classes, strict=True)
        ]
    return lines


def _same_text(answers: list[str | None]) -> list[int | None]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(answer, len(numbers)) if answer else None for answer in answers]


def _line(problem: Problem, verdict: Verdict) -> VerdictLine:
    return VerdictLine(
        id=problem.id,
        extracted=verdict.extracted,
        verdict=verdict.correct,
        reason=verdict.reason,
        undecided=verdict.undecided,
        question=problem.question,
        reference=problem.gold,
        erratum=problem.erratum,
    )
