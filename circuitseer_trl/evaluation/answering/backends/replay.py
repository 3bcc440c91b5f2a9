"""How are stored answers used? They are those of an earlier run, or a JSONL file of problem, sample and text."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from circuitseer_trl.answers import FinishReason, Sample, json_lines
from circuitseer_trl.artifacts import read_card
from circuitseer_trl.checksums import verify_checksum
from circuitseer_trl.evaluation.answering.backends.base import Backend, Job, Request

_SHOWN = 5


@dataclass
class ReplayBackend(Backend):
    """Reads answers instead of generating them.

    Attributes:
        replay_from: `output_dir` of an earlier run, its `generations` folder, or a JSONL file. A line has `id` (benchmark and
            row, such as `math500-0`) and `text`, and optionally `sample` (default 0), `greedy`, `num_tokens` and
            `finish_reason`. Lines without `greedy` are sampled answers if the benchmark has sampled answers, else greedy ones.
    """

    generates: ClassVar[bool] = False

    replay_from: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.replay_from, str):
            raise ValueError(
                "`backend: replay` needs an earlier run's `output_dir` or a JSONL file of answers as `replay_from`, "
                f"got {self.replay_from!r}."
            )

    @property
    def source(self) -> Path:
        return Path(str(self.replay_from))

    def recorded(self) -> dict[str, Any]:
        """What is known of how the answers were made, and their fingerprint."""
        files = replay_files(self.source)
        digest = hashlib.blake2b(digest_size=8)
        for path in files:
            digest.update(path.name.encode() + b"\n" + path.read_bytes())
        settings = files[0].parent.parent / "settings.json"
        known = read_card(settings, "evaluate") if files[0].parent.name == "generations" and settings.is_file() else {}
        return known | {"replayed": digest.hexdigest(), "replayed_backend": known.get("backend")}

    def open(self, job: Job) -> None:
        self.seed = job.settings.seed
        self.lines: dict[tuple[str, bool | None, int], dict[str, Any]] = {}
        for path in replay_files(self.source):
            for place, line in json_lines(path):
                key = _key(line, place)
                if self.lines.setdefault(key, line) != line:
                    raise ValueError(f"{place} answers {_name(key)} once more. Delete one of the two.")

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        drawn = {request.id for request in requests if not request.greedy}
        found, missing = [], []
        for request in requests:
            key = (request.id, request.greedy, request.sample)
            line = self.lines.get(key)
            if line is None and request.greedy != (request.id in drawn):
                line = self.lines.get((request.id, None, request.sample))
            if line is None:
                missing.append(_name(key))
            else:
                found.append(self._sample(request, line))
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
            raise ValueError(
                f"{self.source} lacks {len(missing)} of {len(requests)} answers: {shown}. Add them, or ask for what is "
                "there with `benchmarks`, `limit` and `num_samples`."
            )
        on_tokens(sum(sample.num_tokens or 0 for sample in found))
        yield found

    def _sample(self, request: Request, line: dict[str, Any]) -> Sample:
        return Sample(
            *(request.id, request.greedy, request.sample, line["text"]),
            num_tokens=line.get("num_tokens"),
            finish_reason=line.get("finish_reason"),
            seed=self.seed if line.get("seed") is None else line["seed"],
            prompt=request.prompt,
        )


def _key(line: dict[str, Any], where: str) -> tuple[str, bool | None, int]:
    verify_checksum(where, line)
    counts = ("sample", "num_tokens", "seed")
    wanted = {"id": str, "text": str, "greedy": bool, "finish_reason": str, **dict.fromkeys(counts, int)}
    for name, kind in wanted.items():
        value = line.get(name)
        missing = value is None and name not in ("id", "text")
        if not missing and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise ValueError(f"{where}: `{name}` must be of type {kind.__name__}, got {value!r}.")
    if low := [name for name in counts if (line.get(name) or 0) < 0]:
        raise ValueError(f"{where}: `{low[0]}` must be at least 0, got {line[low[0]]}.")
    if line.get("finish_reason") not in (None, *get_args(FinishReason)):
        raise ValueError(f"{where}: `finish_reason` must be one of {', '.join(get_args(FinishReason))}, or left out.")
    return line["id"], line.get("greedy"), line.get("sample") or 0


def _name(key: tuple[str, bool | None, int]) -> str:
    id, greedy, sample = key
    return f"{id} (greedy)" if greedy else f"{id} (sample {sample})"


def replay_files(source: str | Path) -> list[Path]:
    """The files of answers that a path stands for."""
    source = Path(source).expanduser()
    if source.is_file():
        return [source]
    folder = source / "generations" if (source / "generations").is_dir() else source
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(
            f"There are no answers at {source}. Give an earlier run's `output_dir`, or a JSONL file, as `replay_from`."
        )
    return files
