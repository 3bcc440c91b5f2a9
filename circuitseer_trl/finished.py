"""Is a step finished? Its settings, inputs and products are what was recorded when it ended.

Inputs are known by their content and products by their names below the step's folder, so a folder that was moved is still
finished. Needs neither torch nor pyarrow, so that a step that is finished says so at once. A step that is not known to be
finished runs, which is always right: it takes up what is there.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import fingerprint, format_record, library_versions, read_json, write_json
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.digests import FINISHED_FILE, content_digest

GPU_FILES = ("/proc/driver/nvidia", "/dev/dxg", "/dev/kfd")  # of NVIDIA, of WSL, of AMD
PLACES = ("output_dir", "benchmarks_dir")  # settings that say where files are; what is in the files counts
_HEADS = ("heads.json", "importance.parquet", "probe.parquet", "retrieval.parquet")
SELECTION_PRODUCTS = {
    "find-heads": (*_HEADS, "dropped.parquet"),
    "score-pool": ("scores", "scores.manifest.json", "scores.json"),
    "select-data": (
        *(
            "heads.json",
            "importance.parquet",
            "probe.parquet",
            "retrieval.parquet",
            "scores",
            "scores.manifest.json",
            "scores.json",
        ),
        *("selection.parquet", "selection.json", "examples.json", "dropped.parquet"),
    ),
}


def by_content(settings: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Settings in which files and folders that the values of these keys name are replaced by their content.

    They stay the same where inputs are moved. Keys that say where files are, and nothing more, are left out.
    """
    names = {name for name in _texts([settings.get(key) for key in keys]) if _exists(name)}
    contents = {name: content_digest(Path(name).expanduser()) for name in names}
    return {
        key: _replaced(value, contents) if key in keys else value
        for key, value in settings.items()
        if key not in PLACES
    }


def has_gpu() -> bool:
    """Whether torch is likely to find a CUDA device, which decides an automatic dtype; torch is not asked."""
    return any(map(os.path.exists, GPU_FILES)) and os.environ.get("CUDA_VISIBLE_DEVICES") != ""


@cache
def _code() -> tuple[str, dict[str, str]]:
    """The package and its libraries, as this process has them."""
    return content_digest(Path(__file__).parent), library_versions()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _replaced(value: Any, contents: Mapping[str, str]) -> Any:
    """A value with the names of files and folders replaced by their content."""
    if isinstance(value, dict):
        return {key: _replaced(item, contents) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, contents) for item in value]
    return contents.get(value, value) if isinstance(value, str) else value


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
        settings: All settings of the step.
        local: Names of inputs that the step would load from the Hub if there is no such file or folder; None for no input.
        inputs: Values that may name other files and folders, such as `method_args`. A text among them that is no path may be a
            name on the Hub.
        own_code: Whether classes of the user's own take part, whose code is not known here.
    """

    name: str
    output_dir: str
    settings: Mapping[str, Any]
    local: Sequence[str | None]
    inputs: Any = ()
    own_code: bool = False

    def _names(self) -> list[str]:
        return [name for name in self.local if name is not None] + list(_texts(self.inputs))

    def made_from(self) -> str | None:
        """A fingerprint of all that the products depend on; None if it is not known, and on other ranks than 0.

        A name on the Hub stands for itself, whatever the Hub has under it.
        """
        if self.own_code or int(os.environ.get("RANK", "0")) > 0:
            return None
        names = self._names()
        contents = {name: content_digest(Path(name).expanduser()) for name in set(names) if _exists(name)}
        settings = {key: value for key, value in self.settings.items() if key not in PLACES}
        inputs = [contents.get(name) for name in names]
        return fingerprint([self.name, _replaced(settings, contents), inputs, *_code(), has_gpu()])

    def text(self, made_from: str | None, *, trust_hub: bool = False) -> str | None:
        """What the step printed when it ended; None if it has to run.

        Args:
            made_from: As of now.
            trust_hub: Whether inputs from the Hub count as unchanged. Otherwise a step that has some runs.
        """
        path = Path(self.output_dir) / FINISHED_FILE
        record = _records(path).get(self.name)
        if made_from is None or not isinstance(record, dict) or record.get("made_from") != made_from:
            return None
        if not trust_hub and not all(_exists(name) for name in self._names()):
            return None
        products = record.get("products")
        if not isinstance(products, dict) or not products:
            return None
        for name, digest in products.items():
            product = Path(self.output_dir) / name
            if not product.exists() or content_digest(product) != digest:
                return None
        return f"{record.get('text')}\nFinished before: nothing was done. To do it again, delete {path}."

    def record(self, made_from: str | None, text: str, products: Sequence[str]) -> None:
        """Records that the step has ended, on one process.

        Args:
            made_from: As of the start: an input may be changed while the step runs.
            text: What the step prints.
            products: Files and folders below its folder. Those that this run did not write are left out.
        """
        if made_from is None:
            return
        folder = Path(self.output_dir)
        digests = {name: content_digest(folder / name) for name in products if (folder / name).exists()}
        step = {"made_from": made_from, "products": digests, "text": text} | format_record()
        write_json(folder / FINISHED_FILE, _records(folder / FINISHED_FILE) | {self.name: step})


def selection_step(name: str, pool_config: PoolConfig, config: SelectionConfig) -> FinishedStep:
    """One of the three steps of a selection."""
    local = [pool_config.dataset_name, config.reference_model]
    inputs = [config.heads_file, config.method_args, pool_config.decontaminate_against]
    classes = [name for name in (config.scorer, config.sampler) if name is not None]
    own_code = not all(name.startswith(f"{__package__}.") for name in classes)  # the package's code is known
    return FinishedStep(name, config.output_dir, asdict(pool_config) | asdict(config), local, inputs, own_code)
