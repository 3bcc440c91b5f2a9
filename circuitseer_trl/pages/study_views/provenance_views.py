"""With what was a study made, and how is each of its steps run again?"""

import shlex
from collections.abc import Sequence
from typing import Any

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.drawing.exhibits import Exhibit, Table
from circuitseer_trl.pages.study_views.study_files import Record, StudyFiles

SHARED_COMMANDS = {"heads": "find-heads", "scores": "score-pool"}


def provenance_exhibits(study: StudyFiles) -> list[Exhibit]:
    """Versions, and fingerprints of pools, models and heads: each value once, with the points that have it."""
    facts: dict[tuple[str, str], list[str]] = {}
    for point in study.points:
        for fact in _facts(study, point):
            facts.setdefault(fact, []).append(point["name"])
    whole = len(study.points)
    rows = [
        [what, value, "all" if len(names) == whole else _some(names, whole)] for (what, value), names in facts.items()
    ]
    return [Table("provenance", "Versions and fingerprints", ["what", "value", "points"], rows, text_columns=["value"])]


def _some(names: Sequence[str], whole: int) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} of {whole}"


def _facts(study: StudyFiles, point: Record) -> list[tuple[str, str]]:
    folder = study.root / point["folder"]
    selection, results = _card(folder / "selection" / "selection.json"), _card(folder / "results.json")
    training, facts = _card(folder / "model" / "training.json"), list[tuple[str, str]]()
    if selection:
        pool, model = selection["pool"], selection["scores"]["model"]
        facts.append(("pool", f"{_name(pool['dataset'])}, {pool['num_usable']:,} usable rows, {pool['fingerprint']}"))
        if model:
            facts.append(("reference model", f"{_name(model['name'])}, {model['dtype']}, {model['fingerprint']}"))
    if training:
        facts.append(("processes of training", str(training.get("world_size"))))
    if results:
        settings = results["settings"]
        facts.append(("backend of evaluation", str(settings.get("backend"))))
    for step, card in (("select", selection), ("train", training), ("evaluate", results)):
        versions = card.get("versions", {})
        if versions:
            facts.append((f"versions, {step}", ", ".join(f"{name} {value}" for name, value in versions.items())))
    return facts


def _card(path: Any) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _name(path: str) -> str:
    """The last part of a file's place, which may be private; a name on the Hub whole."""
    return path.rstrip("/").rsplit("/", 1)[-1] if path.startswith(("/", ".", "~")) else path


def commands(study: StudyFiles) -> list[str]:
    """Commands for a terminal: each kind of step once, of the first point that has it, in the study's folder."""
    lines, done = ["cd STUDY_FOLDER"], set[str]()
    for point in study.points:
        shared = point["shared"]
        heads = ["--heads_file", f"{shared['heads']}/heads.json"] if "heads" in shared else []
        for kind, command in SHARED_COMMANDS.items():
            if (
                kind in shared
                and command not in done
                and (kind == "heads" or "heads" in shared or not _any_heads(study))
            ):
                done.add(command)
                words = [
                    "circuitseer",
                    command,
                    "--config",
                    f"{shared[kind]}/recipe.yaml",
                    "--output_dir",
                    shared[kind],
                ]
                lines.append(shlex.join([*words, *(heads if kind == "scores" else [])]))
    steps = {step for point in study.points for step in point["seconds"]}
    for point in study.points:
        record = _card(study.root / point["folder"] / "steps.json")
        if not record or set(record) != steps:
            continue
        for step in record.values():
            words = [str(word) for word in step["command"]]
            root = next((word.removesuffix(f"/{point['folder']}") for word in _places(words, point["folder"])), "")
            lines.append(shlex.join(word.removeprefix(f"{root}/") if root else word for word in words))
        break
    return lines if len(lines) > 1 else []


def _any_heads(study: StudyFiles) -> bool:
    return any("heads" in point["shared"] for point in study.points)


def _places(words: Sequence[str], folder: str) -> list[str]:
    """The folder of a point as a recorded command names it; the study may have been moved since."""
    return [word[: word.index(folder) + len(folder)] for word in words if folder in word]
