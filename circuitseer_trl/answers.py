"""How are answers and verdicts stored? As lines of `generations/<benchmark>.jsonl` and `verdicts/<benchmark>.jsonl`."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

FinishReason = Literal["stop", "length", "prompt_too_long"]
SampleKey = tuple[str, bool, int]


@dataclass(frozen=True)
class Sample:
    """One generated answer.

    Attributes:
        id: The problem's id.
        greedy: Whether the answer is decoded greedily. Otherwise it is sampled.
        sample: Number of the sample, from 0.
        text: The answer.
        num_tokens: Number of generated tokens, with the one that ended the answer; None for a replayed answer without it.
        finish_reason: `stop`; `length` if the limit on new tokens or the model's context cut the answer; `prompt_too_long`
            if the prompt leaves no room for an answer.
        seed: Seed of the evaluation.
        prompt: Fingerprint of the prompt's token ids, or of the question of a replayed answer.
    """

    id: str
    greedy: bool
    sample: int
    text: str
    num_tokens: int | None = None
    finish_reason: FinishReason | None = None
    seed: int = 0
    prompt: str = ""

    @property
    def key(self) -> SampleKey:
        return (self.id, self.greedy, self.sample)


@dataclass(frozen=True, kw_only=True)
class VerdictLine:
    """The verdict on one answer. `circuitseer grade` writes lines without `greedy`, `sample` and `question`.

    Attributes:
        id: The problem's id.
        greedy: As in `Sample`.
        sample: As in `Sample`.
        extracted: The final answer; None if there is none.
        verdict: Whether the answer is right.
        reason: The rule that decided.
        question: The problem's text; None in files of early versions.
    """

    id: str
    greedy: bool = False
    sample: int = 0
    extracted: str | None = None
    verdict: bool
    reason: str = ""
    question: str | None = None

    @property
    def key(self) -> SampleKey:
        return (self.id, self.greedy, self.sample)


def json_line(record: Sample | VerdictLine) -> str:
    """Formats a record as a line of a file."""
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def json_lines(
    path: str | Path, kind: str = "JSON", *, drop_torn: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the objects of a JSONL file, each with its place in the file for messages. Empty lines are left out.

    Args:
        kind: What a line should be, for messages.
        drop_torn: Whether to leave out a last line without a line end, since a killed process leaves such a line.
    """
    with open(path, "rb") as file:  # as bytes, lines end at "\n" alone; texts may contain U+2028
        for number, line in enumerate(file, start=1):
            if not line.strip() or (drop_torn and not line.endswith(b"\n")):
                continue
            place = f"Line {number} of {path}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{place} is not {kind}: {error}.") from error
            if not isinstance(row, dict):
                raise ValueError(f"{place} is not a JSON object: {line[:80].decode(errors='replace')!r}.")
            yield place, row


def read_samples(path: str | Path) -> dict[SampleKey, Sample]:
    """Reads the answers of a file in `generations/`. If two have the same key, the later one counts."""
    samples = {}
    for place, row in json_lines(path, "a sample", drop_torn=True):
        try:
            sample = Sample(**_known(Sample, row))
        except TypeError as error:
            raise ValueError(f"{place} is not a sample ({error}). Delete the line or the file.") from error
        samples[sample.key] = sample
    return samples


def read_verdict_lines(path: str | Path) -> list[VerdictLine]:
    """Reads the verdicts of a file in `verdicts/`, or of a file that `circuitseer grade` wrote, in their order."""
    lines = []
    for place, row in json_lines(path, "a verdict"):
        if missing := [name for name in ("id", "verdict") if name not in row]:
            raise ValueError(f"{place} is not a verdict (it has no {missing[0]!r}).")
        if not isinstance(row["verdict"], bool):
            raise ValueError(f"{place} has the verdict {row['verdict']!r}. It must be true or false.")
        lines.append(VerdictLine(**_known(VerdictLine, row) | {"id": str(row["id"])}))
    return lines


def _known(record: type[Sample | VerdictLine], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in record.__dataclass_fields__ if name in row}
