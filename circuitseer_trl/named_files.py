"""Which file does a name stand for? Recipes and accelerate configs: the user's, the checkout's, or the installed package's."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent
# A checkout comes first: a build copies the files into the package, and in a checkout that copy would be outdated.
# A checkout is known by its recipes: badly built packages leave a pyproject.toml in site-packages.
SHIPPED = _PACKAGE.parent if (_PACKAGE.parent / "recipes" / "selection").is_dir() else _PACKAGE / "shipped"

RECIPE_KINDS = ("data", "selection", "ablations", "sft", "eval", "studies", "demo", "smollm2")
# Kinds among which a plain name is searched. Recipes of whole runs (demo, smollm2) need their kind: `demo/NAME`.
SELECTION_KINDS = ("data", "selection", "ablations")
TRAINING_KINDS = ("data", "sft")
PLAIN_KINDS = (*SELECTION_KINDS, "sft", "eval", "studies")
FOLDERS = {
    **{kind: f"recipes/{kind}" for kind in RECIPE_KINDS},
    "accelerate_configs": "accelerate_configs",
    "benchmarks": "eval/benchmarks",
}


def named_files(kind: str) -> dict[str, Path]:
    """Finds the files of a kind, by name. A file in the working directory overrides the shipped one of that name."""
    folders = [SHIPPED / FOLDERS[kind], Path(FOLDERS[kind])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.y*ml"))}


def _candidates(name: str, kinds: Sequence[str]) -> Iterator[tuple[str, Path]]:
    kind, _, rest = name.partition("/")
    if kind in FOLDERS and rest in (files := named_files(kind)):
        yield name, files[rest]
    for kind in kinds:
        if name in (files := named_files(kind)):
            yield f"{kind}/{name}", files[name]


def find_file(value: str | Path, kinds: Sequence[str]) -> Path:
    """Finds the file that a flag names.

    Args:
        value: A path (it ends in `.yaml` or `.yml`, or exists), a name, or `KIND/NAME`.
        kinds: Kinds among which a name is searched, as keys of `FOLDERS`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Two kinds have a file of this name.
    """
    path, name = Path(value), str(value)
    if path.suffix in (".yaml", ".yml") or ("/" in name and path.is_file()):
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no recipe {path}. Give a YAML file, or a name that `circuitseer recipes` lists."
            )
        return path
    found = list(_candidates(name, kinds))
    if len(found) > 1:
        raise ValueError(f"{name!r} can be {' or '.join(each for each, _ in found)}. Give one of these.")
    if not found:
        known = [each for kind in kinds for each in named_files(kind)]
        known += [f"{kind}/{each}" for kind in FOLDERS for each in named_files(kind)] if "/" in name else []
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"Did you mean `{close[0]}`?" if close else "`circuitseer recipes` lists them."
        raise FileNotFoundError(f"There is no recipe {name!r} among {', '.join(kinds)}. {advice}")
    return found[0][1]


def shipped_path(value: str) -> str:
    """Resolves a path such as `recipes/demo/base_model` inside a recipe: the path itself if it exists, else the shipped one."""
    if value.startswith("recipes/") and not Path(value).exists() and (SHIPPED / value).exists():
        return str(SHIPPED / value)
    return value
