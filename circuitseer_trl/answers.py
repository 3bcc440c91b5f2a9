"""Answers and their verdicts on disk: the lines of `generations/<benchmark>.jsonl` and `verdicts/<benchmark>.jsonl`."""

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

    Args:
        id (`str`): The problem's.
        greedy (`bool`): Whether it is the likeliest continuation, or a draw.
        sample (`int`): Number of the draw, from 0.
        num_tokens (`int`, *optional*): Generated tokens, with the one that ended the answer; `None` where a replayed
            answer does not tell.
        finish_reason (`str`, *optional*): `stop`, or `length` if the limit on new tokens or the model's context cut it.
        prompt (`str`): Fingerprint of the prompt's token ids; of a replayed answer's question.
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

    Args:
        extracted (`str`, *optional*): The final answer; `None` where there is none.
        reason (`str`): The rule that decided.
        question (`str`, *optional*): The problem's text; early versions did not write it.
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
    """A record as its line in a file."""
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def json_lines(
    path: str | Path, kind: str = "JSON", *, drop_torn: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file, each with its place for messages; empty lines are left out.

    Args:
        kind: What a line should be, for messages.
        drop_torn: Whether a last line without an end counts as not written, since a kill leaves such a line.
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
    """The answers of a file in `generations/`; of two with one key the later counts."""
    samples = {}
    for place, row in json_lines(path, "a sample", drop_torn=True):
        try:
            sample = Sample(**_known(Sample, row))
        except TypeError as error:
            raise ValueError(f"{place} is not a sample ({error}). Delete the line or the file.") from error
        samples[sample.key] = sample
    return samples


def read_verdict_lines(path: str | Path) -> list[VerdictLine]:
    """The verdicts of a file in `verdicts/`, or of one that `circuitseer grade` wrote, in their order."""
    lines = []
    for place, row in json_lines(path, "a verdict"):
        if missing := [name for name in ("id", "verdict") if name not in row]:
            raise ValueError(f"{place} is not a verdict (it has no {missing[0]!r}).")
        if not isinstance(row["verdict"], bool):
            raise ValueError(f"{place} has the verdict {row['verdict']!r}, which is neither true nor false.")
        lines.append(VerdictLine(**_known(VerdictLine, row) | {"id": str(row["id"])}))
    return lines


def _known(record: type[Sample | VerdictLine], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in record.__dataclass_fields__ if name in row}
