"""Where are the answers of an evaluation? In a JSONL file for each benchmark, a line for each answer, appended as it finishes."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import Sample, SampleKey, numbered_lines, parse_sample, sample_line, sample_name
from circuitseer_trl.artifacts import atomic_path, check_format, fingerprint, read_card, sealed, write_json


@dataclass
class StoredSamples:
    """What the files of a benchmark hold.

    Attributes:
        samples: The answers.
        places: File and line of each answer.
        broken: What is wrong with lines that do not count, each with its file and line.
    """

    samples: dict[SampleKey, Sample] = field(default_factory=dict)
    places: dict[SampleKey, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class SampleStore:
    """The file `<folder>/<benchmark>.jsonl`. Ranks other than 0 write parts of it, which are merged at the end.

    Args:
        benchmark: Name that `check_benchmark_name` accepts, so that no benchmark's file is named like a part.
        made_with: Fingerprint of the settings that the answers depend on. Answers of other settings are refused.
    """

    def __init__(self, folder: str | Path, benchmark: str, rank: int = 0, made_with: str = "") -> None:
        self.path = Path(folder) / f"{benchmark}.jsonl"
        self.made_with = made_with
        self._own = self.path if rank == 0 else self.path.with_name(f"{benchmark}.rank{rank}.jsonl")
        self._part = re.compile(re.escape(benchmark) + r"\.rank\d+\.jsonl")
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def _files(self) -> list[Path]:
        whole = [self.path] if self.path.is_file() else []
        return whole + sorted(path for path in self.path.parent.iterdir() if self._part.fullmatch(path.name))

    def examine(self) -> StoredSamples:
        """Reads the files of all ranks. A last line without an end is what a kill leaves, and counts as not written.

        Of two lines with different answers for one key neither counts, since nothing says which one is right.
        """
        found = StoredSamples()
        twice: dict[SampleKey, str] = {}
        for path in self._files():
            for place, line in numbered_lines(path, drop_torn=True):
                try:
                    sample = parse_sample(place, line)
                except ValueError as error:
                    found.broken.append(str(error))
                    continue
                if self.made_with and sample.made_with not in ("", self.made_with):
                    raise ValueError(
                        f"{place} is an answer of an evaluation with other settings, such as another model. Was the file copied "
                        "here? Choose another `output_dir`, or delete the file."
                    )
                if found.samples.setdefault(sample.key, sample) != sample:
                    twice[sample.key] = place
                found.places.setdefault(sample.key, place)
        for key, place in twice.items():
            del found.samples[key]
            found.broken.append(f"{place} and {found.places.pop(key)} are two answers to {sample_name(key)}.")
        return found

    def read(self) -> dict[SampleKey, Sample]:
        """Reads the answers of all ranks, without lines that do not count."""
        return self.examine().samples

    def drop_torn_line(self) -> None:
        """Removes a last line without an end from this rank's own file, or the next line would join it."""
        if self._own.is_file():
            content = self._own.read_bytes()
            os.truncate(self._own, content.rfind(b"\n") + 1)

    def append(self, samples: Iterable[Sample]) -> None:
        lines = b"".join(sample_line(replace(sample, made_with=self.made_with)) for sample in samples)
        with open(self._own, "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def merge(self, order: Sequence[str]) -> list[Sample]:
        """Rewrites the file with the answers of all ranks, in the order of the ids in `order`, and deletes the parts.

        Returns:
            The answers. Lines that do not count are no longer in the file.
        """
        positions = {id: position for position, id in enumerate(order)}
        # Answers to problems outside `order` stay: a smaller `--limit` must not throw finished work away.
        samples = sorted(
            self.read().values(), key=lambda s: (positions.get(s.id, len(positions)), s.id, not s.greedy, s.sample)
        )
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(b"".join(map(sample_line, samples)))
        for part in self._files()[1:]:
            part.unlink()
        return samples


def settings_fingerprint(settings: dict[str, Any]) -> str:
    """The `made_with` of answers that these settings make: of the settings alone, or of a `settings.json`.

    The place of a model whose content is known does not count: its folder may be moved.
    """
    left_out = {*sealed({}), *(["model_name_or_path"] if settings.get("model_fingerprint") is not None else [])}
    return fingerprint({key: value for key, value in settings.items() if key not in left_out and value is not None})


def claim_folder(folder: str | Path, settings: dict[str, Any], *, write: bool = True) -> None:
    """Records the settings that the answers of a folder are made with. Raises if it has answers of other settings."""
    path, of_file = Path(folder) / "settings.json", sealed({}).keys()
    if path.is_file():
        before = read_card(path, "evaluate")
        check_format(path, before)
        changed = [
            name for name in sorted(before | settings) if name not in of_file and before.get(name) != settings.get(name)
        ]
        if changed == ["model_name_or_path"] and before.get("model_fingerprint") is not None:
            changed = []  # the model was moved
        if changed:
            differences = "; ".join(
                f"{name} was {before.get(name)!r} and is now {settings.get(name)!r}" for name in changed
            )
            raise ValueError(
                f"{folder} holds samples made with other settings: {differences}. Choose another `output_dir`."
            )
    elif write:
        write_json(path, sealed(settings))
