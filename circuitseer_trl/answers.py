"""How are answers and verdicts stored? As lines of `generations/<benchmark>.jsonl` and `verdicts/<benchmark>.jsonl`."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.checksums import verify_checksum, with_checksum

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
        made_with: Fingerprint of the settings that the answer depends on; empty in files of version 0.1.0.
    """

    id: str
    greedy: bool
    sample: int
    text: str
    num_tokens: int | None = None
    finish_reason: FinishReason | None = None
    seed: int = 0
    prompt: str = ""
    made_with: str = ""

    @property
    def key(self) -> SampleKey:
        return (self.id, self.greedy, self.sample)


@dataclass(frozen=True, kw_only=True)
class VerdictLine:
    """The verdict on one answer.

    In a file, `question`, `reference` and `erratum` are on the first line of each problem; the reader gives them to all lines of
    the problem. `circuitseer grade` writes lines without them, and without `greedy`, `sample` and `vote_class`.

    Attributes:
        id: The problem's id.
        greedy: As in `Sample`.
        sample: As in `Sample`.
        extracted: The final answer; None if there is none.
        verdict: Whether the answer is right.
        reason: The rule that decided, or why none could.
        undecided: Whether no rule could decide. The verdict is then "wrong". None in files of version 0.1.0.
        vote_class: Number of the class of equal answers among the problem's sampled answers, which vote together. None for an
            answer without a vote (a greedy one, or no answer), and in files of version 0.1.0.
        question: The problem's text; None in files of early versions.
        reference: The reference that the answer was compared with; None in files of version 0.1.0.
        erratum: The reference of the benchmark's file, if `errata.json` corrects it.
    """

    id: str
    greedy: bool = False
    sample: int = 0
    extracted: str | None = None
    verdict: bool
    reason: str = ""
    undecided: bool | None = None
    vote_class: int | None = None
    question: str | None = None
    reference: str | None = None
    erratum: str | None = None

    @property
    def key(self) -> SampleKey:
        return (self.id, self.greedy, self.sample)


_OF_A_PROBLEM = ("question", "reference", "erratum")
# Types of the fields, without those of `int`, which must not be below 0.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "text", "prompt", "made_with", "reason"), (str,)),
    **dict.fromkeys(("greedy", "verdict"), (bool,)),
    "undecided": (bool, type(None)),
    **dict.fromkeys(("extracted", *_OF_A_PROBLEM), (str, type(None))),
}
_COUNTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("sample", "seed"), (int,)),
    **dict.fromkeys(("num_tokens", "vote_class"), (int, type(None))),
}


def sample_line(sample: Sample) -> bytes:
    """Formats an answer as a line of a file, with a checksum."""
    # Lone surrogates, which a tokenizer can produce, have no UTF-8 form.
    record = asdict(replace(sample, text=sample.text.encode(errors="replace").decode()))
    return json.dumps(with_checksum(record), ensure_ascii=False).encode() + b"\n"


def verdict_text(lines: Iterable[VerdictLine]) -> str:
    """Formats the verdicts on a benchmark's answers as a file: the text of each problem stands on its first line."""
    seen: set[str] = set()
    texts = []
    for line in lines:
        left_out = {name for name in _OF_A_PROBLEM if line.id in seen or getattr(line, name) is None}
        seen.add(line.id)
        record = {name: value for name, value in asdict(line).items() if name not in left_out}
        texts.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(texts)


def numbered_lines(path: str | Path, *, drop_torn: bool = False) -> Iterator[tuple[str, bytes]]:
    """Reads the lines of a file, each with its place for messages. Empty lines are left out.

    Args:
        drop_torn: Whether to leave out a last line without a line end, since a killed process leaves such a line.
    """
    with open(path, "rb") as file:  # as bytes, lines end at "\n" alone; texts may contain U+2028
        for number, line in enumerate(file, start=1):
            if line.strip() and not (drop_torn and not line.endswith(b"\n")):
                yield f"Line {number} of {path}", line


def parse_line(place: str, line: bytes, kind: str = "JSON") -> dict[str, Any]:
    """Reads a line as a JSON object.

    Args:
        kind: What the line should be, for messages.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not {kind}: {error}.") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place} is not a JSON object: {line[:80].decode(errors='replace')!r}.")
    return row


def json_lines(
    path: str | Path, kind: str = "JSON", *, drop_torn: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the objects of a JSONL file, each with its place in the file for messages."""
    for place, line in numbered_lines(path, drop_torn=drop_torn):
        yield place, parse_line(place, line, kind)


def parse_sample(place: str, line: bytes) -> Sample:
    """Reads a line of a file in `generations/`."""
    row = parse_line(place, line, "a sample")
    verify_checksum(place, row)
    if missing := [name for name in ("id", "greedy", "sample", "text") if name not in row]:
        raise ValueError(f"{place} is not a sample: it has no `{missing[0]}`.")
    sample = Sample(**_fields(Sample, row, place))
    if sample.finish_reason not in (None, *get_args(FinishReason)):
        raise ValueError(
            f"{place} has the `finish_reason` {sample.finish_reason!r}. It must be one of {', '.join(get_args(FinishReason))}."
        )
    return sample


def read_samples(path: str | Path) -> dict[SampleKey, Sample]:
    """Reads the answers of a file in `generations/`.

    Raises:
        ValueError: A line is broken, or two lines give different answers for one key.
    """
    samples: dict[SampleKey, Sample] = {}
    for place, line in numbered_lines(path, drop_torn=True):
        try:
            sample = parse_sample(place, line)
            if samples.setdefault(sample.key, sample) != sample:
                raise ValueError(f"{place} is another answer to {sample_name(sample.key)} than an earlier line.")
        except ValueError as error:
            raise ValueError(
                f"{error} Run the same `circuitseer evaluate` again, which makes such answers again, or delete the line."
            ) from error
    return samples


def sample_name(key: SampleKey) -> str:
    """Names a sample in messages."""
    name, greedy, sample = key
    return f"{name} (greedy)" if greedy else f"{name} (sample {sample})"


def file_digest(path: str | Path) -> str:
    """Sixteen hexadecimal digits of a file's content."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()


def read_verdict_lines(path: str | Path) -> list[VerdictLine]:
    """Reads the verdicts of a file in `verdicts/`, or of a file that `circuitseer grade` wrote, in their order.

    Raises:
        ValueError: A line is broken, or the file is not the one that the evaluation's `results.json` was computed from.
    """
    path = Path(path)
    check_verdict_file(path)
    lines: list[VerdictLine] = []
    problems: dict[str, dict[str, Any]] = {}
    keys: set[SampleKey] = set()
    for place, row in json_lines(path, "a verdict"):
        if missing := [name for name in ("id", "verdict") if name not in row]:
            raise ValueError(f"{place} is not a verdict (it has no {missing[0]!r}).")
        if not isinstance(row["verdict"], bool):
            raise ValueError(f"{place} has the verdict {row['verdict']!r}. It must be true or false.")
        row["id"] = str(row["id"])  # `circuitseer grade` keeps numbers
        line = VerdictLine(**_fields(VerdictLine, row, place))
        if "sample" in row and line.key in keys:  # a file that was graded may have several answers with one id
            raise ValueError(f"{place} is another verdict on {sample_name(line.key)}. Delete one of the two.")
        keys.add(line.key)
        texts = {name: row[name] for name in _OF_A_PROBLEM if row.get(name) is not None}
        problems.setdefault(line.id, {}).update(texts)
        lines.append(line)
    return [replace(line, **problems[line.id]) for line in lines]


def check_verdict_file(path: str | Path) -> None:
    """Raises if a file of verdicts is not the one that `results.json` of its evaluation was computed from."""
    path = Path(path)
    results = path.parent.parent / "results.json"
    if path.parent.name != "verdicts" or not results.is_file():
        return
    record = read_json(results)
    measured = record.get("benchmarks") if isinstance(record, dict) else None
    of_file = measured.get(path.stem) if isinstance(measured, dict) else None
    digest = of_file.get("verdicts_digest") if isinstance(of_file, dict) else None  # None: of version 0.1.0
    if digest is not None and file_digest(path) != digest:
        raise ValueError(
            f"{path} does not fit {results}: it was changed, or is of another evaluation. Run the same `circuitseer evaluate` "
            "again, which grades the answers of generations/ again."
        )


def _fields(record: type[Sample | VerdictLine], row: dict[str, Any], place: str) -> dict[str, Any]:
    """The fields of a record among those of a row. Raises if one has another type than it should."""
    found = {name: row[name] for name in record.__dataclass_fields__ if name in row}
    for name, value in found.items():
        counts = name in _COUNTS
        kinds = (_COUNTS if counts else _KINDS).get(name)
        if kinds is None:
            continue
        no_count = counts and isinstance(value, int) and (isinstance(value, bool) or value < 0)
        if no_count or not isinstance(value, kinds):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"{place}: `{name}` must be of type {wanted}{', at least 0' * counts}, got {value!r}.")
    return found
