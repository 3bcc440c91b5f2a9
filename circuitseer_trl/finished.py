"""Is a step finished? Its settings, inputs and products are what was recorded when it ended.

Needs neither torch nor pyarrow, so that a step that is finished says so at once. A step that is not known to be finished
runs, which is always right: it takes up what is there.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import fingerprint, library_versions, read_json, write_json
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.locks import is_lock

FILE = "finished.json"


def content_digest(path: Path) -> str:
    """Sixteen hexadecimal digits of a file's content, or of the names and contents of all files of a folder."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and "__pycache__" not in file.parts and not is_lock(file):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with open(file, "rb") as content:
                while chunk := content.read(1 << 24):
                    digest.update(chunk)
    return digest.hexdigest()


def has_gpu() -> bool:
    """Whether torch is likely to find a CUDA device, which decides an automatic dtype; torch is not asked."""
    return Path("/proc/driver/nvidia").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _exists(name: str) -> bool:
    return bool(name) and os.path.exists(os.path.expanduser(name))  # False for texts that cannot be a path


def _records(path: Path) -> dict[str, Any]:
    """The records of a folder; none if the file is missing or broken, since the steps then simply run."""
    try:
        records = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}


@dataclass(frozen=True)
class FinishedStep:
    """One step of one output folder.

    Args:
        name: Of the step.
        output_dir: Its folder, where `finished.json` is.
        settings: The dataclasses that the step was called with.
        local: Names of inputs that the step would load from the Hub if there is no such file or folder; None for no input.
        inputs: Values that may name other files and folders, such as `method_args`. A text among them that is no path may be a
            name on the Hub: then the step runs.
        own_code: Whether classes of the user's own take part, whose code is not known here.
    """

    name: str
    output_dir: str
    settings: Sequence[Any]
    local: Sequence[str | None]
    inputs: Any = ()
    own_code: bool = False

    def made_from(self) -> str | None:
        """A fingerprint of all that the products depend on; None if it is not known, such as for inputs on the Hub."""
        if self.own_code or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return None  # ranks would have to agree, and so to load torch
        needed = {name for name in self.local if name is not None}
        names = needed | set(_texts(self.inputs))
        found = {name: content_digest(Path(name).expanduser()) for name in sorted(names) if _exists(name)}
        if names - found.keys():
            return None
        settings = [asdict(each) for each in self.settings]
        code = [content_digest(Path(__file__).parent), library_versions(), has_gpu()]
        return fingerprint([self.name, settings, found, *code])

    def text(self, made_from: str | None) -> str | None:
        """What the step printed when it ended; None if it has to run.

        Args:
            made_from: As of now.
        """
        path = Path(self.output_dir) / FILE
        record = _records(path).get(self.name)
        if record is None or record["made_from"] != made_from:
            return None
        products = {Path(self.output_dir) / name: digest for name, digest in record["products"].items()}
        if not all(path.exists() and content_digest(path) == digest for path, digest in products.items()):
            return None
        return f"{record['text']}\nFinished before: nothing was done. To do it again, delete {path}."

    def record(self, made_from: str | None, text: str, products: Sequence[str]) -> None:
        """Records that the step has ended, on one process.

        Args:
            made_from: As of the start: an input may be changed while the step runs.
            text: What the step prints.
            products: Files and folders that it wrote, below its folder.
        """
        if made_from is None:
            return
        path = Path(self.output_dir) / FILE
        digests = {name: content_digest(Path(self.output_dir) / name) for name in products}
        write_json(path, _records(path) | {self.name: {"made_from": made_from, "products": digests, "text": text}})


def selection_step(name: str, pool_config: PoolConfig, config: SelectionConfig) -> FinishedStep:
    """One of the three steps of a selection."""
    local = [pool_config.dataset_name, config.reference_model]
    inputs = [config.heads_file, config.method_args, pool_config.decontaminate_against]
    own_code = config.scorer is not None or config.sampler is not None
    return FinishedStep(name, config.output_dir, [pool_config, config], local, inputs, own_code)
