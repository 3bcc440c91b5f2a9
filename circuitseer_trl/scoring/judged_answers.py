"""What an evaluation found: answers with their verdicts, read from the folders that `eval.run` writes."""

from dataclasses import dataclass
from pathlib import Path

from circuitseer_trl.answers import read_samples, read_verdict_lines
from circuitseer_trl.artifacts import fingerprint


@dataclass(frozen=True)
class Answer:
    """The answer that counts for one problem: the greedy one, or where there is none the first draw (our reading)."""

    problem: str  # its name in the benchmark
    question: str
    text: str
    right: bool


def read_answers(folder: str | Path) -> dict[str, Answer]:
    """The answers of a run of `circuitseer evaluate`, by their problems' names, on all of its benchmarks.

    Args:
        folder: Its `output_dir`, with `generations/` and `verdicts/`.
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
            raise FileNotFoundError(f"There is no {texts}, the answers that {path} judges. Is the folder whole?")
        samples = read_samples(texts)
        for line in sorted(read_verdict_lines(path), key=lambda line: (not line.greedy, line.sample)):  # greedy first
            if line.id in answers:
                continue
            if line.key not in samples:
                raise ValueError(
                    f"{path} judges an answer to {line.id} that {texts} does not have. Run `eval.run` again."
                )
            if line.question is None:
                raise ValueError(
                    f"{path} does not say what was asked: an earlier version wrote it. Run the same `circuitseer evaluate` "
                    "again; it grades anew and generates nothing."
                )
            answers[line.id] = Answer(line.id, line.question, samples[line.key].text, line.verdict)
    return answers


@dataclass(frozen=True)
class Turned:
    """Answers after training to problems whose verdict it changed."""

    right: list[Answer]  # wrong before, right after
    wrong: list[Answer]  # right before, wrong after


def turned_answers(before: str | Path, after: str | Path) -> Turned:
    """Compares two evaluations of the same problems.

    Raises:
        ValueError: The problems are not the same, or training changed no verdict.
    """
    earlier, later = read_answers(before), read_answers(after)
    if odd := sorted(set(earlier) ^ set(later)):
        raise ValueError(
            f"The evaluations {before} and {after} are not of the same problems: {len(odd)} are in one of them only, for "
            f"instance {odd[0]}. Evaluate both models with the same benchmarks and `limit`."
        )
    if odd := sorted(name for name in later if earlier[name].question != later[name].question):
        raise ValueError(f"The evaluations {before} and {after} asked different questions as {odd[0]}.")
    right = [later[name] for name in sorted(later) if later[name].right and not earlier[name].right]
    wrong = [later[name] for name in sorted(later) if earlier[name].right and not later[name].right]
    if not right and not wrong:
        raise ValueError(
            f"None of the {len(later)} problems of {after} has another verdict than in {before}, so there is no answer to "
            "trace. Are the two folders of the model before and after training, and of enough problems?"
        )
    return Turned(right, wrong)


def right_answers(folder: str | Path) -> list[Answer]:
    """The right answers of an evaluation."""
    answers = read_answers(folder)
    right = [answers[name] for name in sorted(answers) if answers[name].right]
    if not right:
        raise ValueError(f"None of the {len(answers)} answers in {folder} is right, so there is none to trace.")
    return right


def first_by_name(answers: list[Answer], size: int | None) -> list[Answer]:
    """At most `size` answers, drawn by a hash of their problems' names, in the order of the names."""
    drawn = sorted(answers, key=lambda answer: fingerprint(answer.problem))[:size]
    return sorted(drawn, key=lambda answer: answer.problem)
