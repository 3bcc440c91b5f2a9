"""Which samples of which problems are right? Reads the verdicts of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from circuitseer_trl.answers import VerdictLine, read_verdict_lines
from circuitseer_trl.evaluation.metrics import TIE_RULES, majority, pass_at_k


@dataclass(frozen=True)
class ProblemVerdicts:
    """Verdicts on one problem's answers.

    Attributes:
        greedy: Verdict on the greedy answer; None if there is none.
        sampled: Verdicts on the sampled answers, in their order.
        vote_classes: Classes of the sampled answers; None if the file does not have them, as those of version 0.1.0.
    """

    greedy: bool | None
    sampled: tuple[bool, ...]
    vote_classes: tuple[int | None, ...] | None = None

    @property
    def pass_at_1(self) -> float:
        """Pass@1 of the greedy answer if there is one, otherwise the mean over the sampled answers."""
        if self.greedy is not None:
            return float(self.greedy)
        return sum(self.sampled) / len(self.sampled)

    def majority(self, vote: str) -> float | None:
        """Whether the vote of the sampled answers is right; None if there is no vote.

        Args:
            vote: Setting of the evaluation.
        """
        if not self.sampled or self.vote_classes is None:
            return None
        return majority(self.vote_classes, self.sampled, TIE_RULES[vote])


def read_verdicts(folder: str | Path, benchmark: str) -> dict[str, ProblemVerdicts]:
    """Reads the verdicts of one benchmark from the folder of an evaluation, by the problem's id."""
    path = Path(folder) / "verdicts" / f"{benchmark}.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}. `circuitseer evaluate` with the run's own settings writes it again from generations/."
        )
    greedy: dict[str, bool] = {}
    sampled: dict[str, dict[int, VerdictLine]] = {}
    for line in read_verdict_lines(path):
        draws = sampled.setdefault(line.id, {})
        if line.greedy:
            greedy[line.id] = line.verdict
        else:
            draws[line.sample] = line
    found = {}
    for problem, draws in sampled.items():
        lines = [draws[sample] for sample in sorted(draws)]
        classes = tuple(line.vote_class for line in lines)
        known = all(line.vote_class is not None or not (line.extracted or "").strip() for line in lines)
        verdicts = tuple(line.verdict for line in lines)
        found[problem] = ProblemVerdicts(greedy.get(problem), verdicts, classes if known else None)
    return found


def mean_pass_at_k(verdicts: Mapping[str, ProblemVerdicts], k: int) -> float:
    """Unbiased pass@k of the sampled answers, for any k up to their number."""
    values = [pass_at_k(len(each.sampled), sum(each.sampled), k) for each in verdicts.values()]
    return sum(values) / len(values)
