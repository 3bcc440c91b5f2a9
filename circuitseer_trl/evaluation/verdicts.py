"""Which samples of which problems are right? Reads the verdicts of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from circuitseer_trl.answers import read_verdict_lines
from circuitseer_trl.evaluation.metrics import pass_at_k


@dataclass(frozen=True)
class ProblemVerdicts:
    """Verdicts on one problem's answers.

    Attributes:
        greedy: Verdict on the greedy answer; None if there is none.
        sampled: Verdicts on the sampled answers, in their order.
    """

    greedy: bool | None
    sampled: tuple[bool, ...]

    @property
    def pass_at_1(self) -> float:
        """Pass@1 of the greedy answer if there is one, otherwise the mean over the sampled answers."""
        if self.greedy is not None:
            return float(self.greedy)
        return sum(self.sampled) / len(self.sampled)


def read_verdicts(folder: str | Path, benchmark: str) -> dict[str, ProblemVerdicts]:
    """Reads the verdicts of one benchmark from the folder of an evaluation, by the problem's id."""
    path = Path(folder) / "verdicts" / f"{benchmark}.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}. `circuitseer evaluate` with the run's own settings writes it again from generations/."
        )
    greedy: dict[str, bool] = {}
    sampled: dict[str, dict[int, bool]] = {}
    for line in read_verdict_lines(path):
        draws = sampled.setdefault(line.id, {})
        if line.greedy:
            greedy[line.id] = line.verdict
        else:
            draws[line.sample] = line.verdict
    return {
        problem: ProblemVerdicts(greedy.get(problem), tuple(draws[sample] for sample in sorted(draws)))
        for problem, draws in sampled.items()
    }


def mean_pass_at_k(verdicts: Mapping[str, ProblemVerdicts], k: int) -> float:
    """Unbiased pass@k of the sampled answers, for any k up to their number."""
    values = [pass_at_k(len(each.sampled), sum(each.sampled), k) for each in verdicts.values()]
    return sum(values) / len(values)
