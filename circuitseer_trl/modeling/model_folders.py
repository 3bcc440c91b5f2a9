"""Is a model's name a folder, and does it hold a whole model? Needs no torch, and reads no weights."""

import json
from pathlib import Path

from circuitseer_trl.artifacts import read_json

INDEX = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


def check_model_folder(name: str) -> None:
    """Checks, before anything is loaded, that a `name` that looks like a folder holds a model with whole files of weights.

    Raises:
        FileNotFoundError: There is no such folder, or it has no configuration, or not all of its safetensors.
        ValueError: The configuration is not JSON, or a file of weights is cut or broken.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file():
            raise ValueError(
                f"The folder {name} holds a PEFT adapter, not a whole model. Merge it into its model (`merge_and_unload` of "
                "PEFT), and save that with its tokenizer."
            )
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"The folder {name} holds no model: it has no config.json.")
        if not isinstance(read_json(folder / "config.json"), dict):
            raise ValueError(f"{folder / 'config.json'} is no model's configuration: it must be a JSON object.")
        for file in weight_files(name, folder):
            check_whole_weights(file)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no model folder {name}.")


def weight_files(name: str, folder: Path) -> list[Path]:
    """The files of weights in a model's folder. Raises if a file that its index names is missing."""
    single, index = folder / "model.safetensors", folder / INDEX
    if single.is_file():  # transformers prefers it to an index
        return [single]
    if index.is_file():
        places = read_json(index)
        if not isinstance(places, dict) or not isinstance(places.get("weight_map"), dict):
            raise ValueError(f"{index} has no `weight_map`. Save the model again.")
        files = [folder / str(file) for file in sorted(set(places["weight_map"].values()))]
        if missing := [file.name for file in files if not file.is_file()]:
            raise FileNotFoundError(
                f"The folder {name} lacks {len(missing)} of the {len(files)} files of weights that {INDEX} names, such as "
                f"{missing[0]}. Copy or download the folder again."
            )
        return files
    if any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"The folder {name} has *.safetensors files, but neither model.safetensors nor {INDEX}, which says what is in "
            "them. Copy or download the folder again."
        )
    raise FileNotFoundError(
        f"The folder {name} holds no weights: it has a config.json but no *.safetensors file. "
        "If the weights are in another format, save them with `save_pretrained` first."
    )


def check_whole_weights(file: Path) -> None:
    """Raises if a safetensors file is shorter or longer than its header says, or has no header."""
    size = file.stat().st_size
    with open(file, "rb") as content:
        length = int.from_bytes(content.read(8), "little")
        try:
            if not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError("its header is cut, or it is another kind of file")
            header = json.loads(content.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
            if (expected := 8 + length + max(ends, default=0)) != size:
                raise ValueError(f"its header describes {expected} bytes, and it has {size}")
        except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
            reason = str(error) if type(error) is ValueError else "its header cannot be read"
            raise ValueError(
                f"The file of weights {file} is broken: {reason}. Copy, download or save the model again."
            ) from error


def model_path(name: str) -> str:
    """The absolute path of a local model folder, or the Hub id. Libraries mistake a relative path for a Hub id."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


# Files that change no result: records of runs, notes, and weights in formats that are not read.
_NO_PART_OF_A_MODEL = (
    *(".md", ".txt.license", ".log", ".jsonl", ".parquet", ".html", ".png", ".lock", ".tmp"),
    *(".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".npz"),
)
_RECORDS = (
    *(
        "trainer_state.json",
        "training.json",
        "training_settings.json",
        "settings.json",
        "selection.json",
        "results.json",
    ),
    *(
        "finished.json",
        "checkpoint.json",
        "trained_on.json",
        "all_results.json",
        "train_results.json",
        "eval_results.json",
    ),
)


def model_files(folder: Path) -> list[Path]:
    """The files of a folder that may change what a model computes or reads: configurations, weights, tokenizer, templates.

    A file of an unknown kind is among them: a result that is made again costs less than one that is wrong.
    """
    files = [*folder.iterdir(), *folder.glob("additional_chat_templates/*")]
    return sorted(
        file
        for file in files
        if file.is_file()
        and not file.name.startswith((".", "LICENSE", "NOTICE", "events.out."))
        and not file.name.endswith(_NO_PART_OF_A_MODEL)
        and file.name not in _RECORDS
    )
