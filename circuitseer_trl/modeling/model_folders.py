"""Is a model's name a folder, and does it hold a model? Needs no torch."""

from pathlib import Path


def check_model_folder(name: str) -> None:
    """Checks, before anything is loaded, that a `name` that looks like a folder holds a model.

    Raises:
        FileNotFoundError: There is no such folder, or it has no configuration or no safetensors.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"The folder {name} holds no model: it has no config.json.")
        if not any(folder.glob("*.safetensors")):
            raise FileNotFoundError(
                f"The folder {name} holds no weights: it has a config.json but no *.safetensors file. "
                "If the weights are in another format, save them with `save_pretrained` first."
            )
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"There is no model folder {name}.")


def model_path(name: str) -> str:
    """The absolute path of a local model folder, or the Hub id. Libraries mistake a relative path for a Hub id."""
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name
