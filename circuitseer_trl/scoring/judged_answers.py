"""Which answers did a model get right? The answers of an evaluation with their verdicts, read from its folder."""

from dataclasses import dataclass
from pathlib import Path

from circuitseer_trl.answers import read_samples, read_verdict_lines
from circuitseer_trl.artifacts import fingerprint


@dataclass(frozen=True)
class Answer:
    """The answer that counts for one problem: the greedy one, or the first sample if there is no greedy one (our reading)."""

    problem: str  # its name in the benchmark
    question: str
    text: str
    right: bool


def read_answers(folder: str | Path) -> dict[str, Answer]:
    """Reads the answers of an evaluation on all of its benchmarks, by the names of their problems.

    Args:
        folder: The `output_dir` of `circuitseer evaluate`, with `generations/` and `verdicts/`.
    """
    folder = Path(folder).expanduser()
    files = sorted(path for path in (folder / "verdicts").glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(
            f"There are no verdicts in {folder}. Give the `output_dir` of an evaluation: `circuitseer evaluate` writes "
            "verdicts/ and generations/ there."
        )
    answers: dict[str, Answer] = {}
    for path in files:
        texts = folder / "generations" / path.name
        if not texts.is_file():
            raise FileNotFoundError(f"There is no {texts}, the answers that {path} judges. Is the folder complete?")
        samples = read_samples(texts)
        for line in sorted(read_verdict_lines(path), key=lambda line: (not line.greedy, line.sample)):  # greedy first
            if line.id in answers:
                continue
            if line.key not in samples:
                raise ValueError(
                    f"{path} judges an answer to {line.id} that {texts} does not have. Run `circuitseer evaluate` again."
                )
            if line.question is None:
                raise ValueError(
                    f"{path} has no questions: an earlier version wrote it. Run the same `circuitseer evaluate` again; it "
                    "grades again and generates nothing."
                )
            answers[line.id] = Answer(line.id, line.question, samples[line.key].text, line.verdict)
    return answers


@dataclass(frozen=True)
class Turned:
    """Answers of the trained model to the problems whose verdict training changed."""

    right: list[Answer]  # wrong before, right after
    wrong: list[Answer]  # right before, wrong after


def turned_answers(before: str | Path, after: str | Path) -> Turned:
    """Compares two evaluations of the same problems.

    Raises:
        ValueError: The problems differ, or training changed no verdict.
    """
    earlier, later = read_answers(before), read_answers(after)
    if odd := sorted(set(earlier) ^ set(later)):
        raise ValueError(
            f"The evaluations {before} and {after} are not of the same problems: {len(odd)} are in only one of them, for "
            f"instance {odd[0]}. Evaluate both models with the same benchmarks and `limit`."
        )
    if odd := sorted(name for name in later if earlier[name].question != later[name].question):
        raise ValueError(
            f"The evaluations {before} and {after} have different questions for the problem {odd[0]}. Evaluate both models "
            "on the same benchmarks."
        )
    right = [later[name] for name in sorted(later) if later[name].right and not earlier[name].right]
    wrong = [later[name] for name in sorted(later) if earlier[name].right and not later[name].right]
    if not right and not wrong:
        raise ValueError(
            f"All {len(later)} problems of {after} have the same verdict as in {before}, so there is no answer to trace. Are "
            "the two folders of the model before and after training, and of enough problems?"
        )
    return Turned(right, wrong)


def right_answers(folder: str | Path) -> list[Answer]:
    """The right answers of an evaluation."""
    answers = read_answers(folder)
    right = [answers[name] for name in sorted(answers) if answers[name].right]
    if not right:
        raise ValueError(
            f"None of the {len(answers)} answers in {folder} is right, so there is no answer to trace. Use easier problems."
        )
    return right


def first_by_name(answers: list[Answer], size: int | None) -> list[Answer]:
    """Draws at most `size` answers by a hash of their problems' names, and sorts them by name."""
    drawn = sorted(answers, key=lambda answer: fingerprint(answer.problem))[:size]
    return sorted(drawn, key=lambda answer: answer.problem)
