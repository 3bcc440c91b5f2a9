"""What do commands make of a finished run with a damaged file? Compares with what they do with the whole run."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.damage import DAMAGE
from tests.trial.outcomes import Ended, Outcome, run
from tests.trial.tiny_run import Place, finish, make_inputs

# Values of the clock, of the machine, and what follows from them.
CLOCK = ("seconds", "train_seconds", "tokens_per_second", "train_runtime", "train_samples_per_second")
CLOCK += ("train_steps_per_second", "num_input_tokens_seen", "fingerprint", "text", "products", "made_from")
# After a resume these are of the part since then.
CLOCK += ("resumed_from", "train_loss", "num_tokens", "log_history", "total_flos")
NOT_COMPARED_NAMES = ("checkpoint.json", "trained_on.json")  # digests of a history; the models that were trained
NOT_COMPARED = (".bin", ".pt", ".pth", ".md", ".html", ".lock")


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clock(item) for key, item in value.items() if key not in CLOCK}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, Any]:
    """The files of a folder, by name, without values of the clock."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if (
            not path.is_file()
            or path.suffix in NOT_COMPARED
            or path.name in NOT_COMPARED_NAMES
            or path.name.startswith(".")
        ):
            continue
        content = path.read_bytes()
        try:
            value = without_clock(json.loads(content)) if path.suffix == ".json" else content
        except ValueError:
            value = content
        found[str(path.relative_to(folder))] = value
    return found


def printed(ended: Ended) -> str:
    """What was printed, without what depends on whether the work was done before, and on the clock."""
    lines = ended.output.splitlines()
    return "\n".join(line for line in lines if not line.startswith("Finished before") and " Took " not in line)


@dataclass(frozen=True)
class Undamaged:
    """What a command printed for the whole run, and all files after it."""

    printed: str
    contents: dict[str, Any]


class Runs:
    """Two finished runs on two pools by two models. Each case damages a copy of the first one, always at one place.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.other, self.whole = make_inputs(folder / "theirs", seed=1), folder / "whole"
        self.place = make_inputs(folder / "ours")
        self.undamaged: dict[str, Undamaged] = {}
        for place in (self.place, self.other):
            finish(place)
        self.place.folder.rename(self.whole)

    def copy(self) -> Place:
        shutil.rmtree(self.place.folder, ignore_errors=True)
        shutil.copytree(self.whole, self.place.folder)
        return self.place

    def run_whole(self, name: str, words: "Words") -> Undamaged:
        """What a command makes of the whole run; it is run once."""
        if name not in self.undamaged:
            ended = run(words(self.copy(), self))
            assert ended.status == 0, (name, ended.errors, ended.log[-2000:])
            self.undamaged[name] = Undamaged(printed(ended), contents(self.place.folder))
        return self.undamaged[name]

    def judge(self, file: str, damage: str, reader: str, words: "Words") -> tuple[Outcome, Ended]:
        """The outcome of a command that gets the run with one damaged file."""
        whole = self.run_whole(reader, words)
        place = self.copy()
        DAMAGE[damage](place.folder / file, self.other.folder / file)
        damaged = contents(place.folder).get(file)
        ended = run(words(place, self))
        if ended.status is None:
            return "traceback", ended
        if ended.status != 0:
            line = ended.errors[0] if len(ended.errors) == 1 else ""
            named = any(word in line for word in (Path(file).name.split(".")[0].split("-")[0], *NAMED))
            return "clear" if named else "unclear", ended
        after = contents(place.folder)
        if after == whole.contents:
            return "made again", ended
        others = {name for name in after | whole.contents if after.get(name) != whole.contents.get(name)} - {file}
        if not others and after.get(file) == damaged and (reader not in PAGES or printed(ended) == whole.printed):
            return "not read", ended
        return "silent", ended


Words = Callable[[Place, Runs], list[object]]


def again(step: str) -> Words:
    """The same command again."""

    def words(place: Place, runs: Runs) -> list[object]:
        model, selection = place.folder / "model", place.folder / "selection" / "selection.parquet"
        if step == "select":
            return place.select()
        return place.train(selection_file=selection) if step == "train" else place.evaluate(model_name_or_path=model)

    return words


def _combine(place: Place, runs: Runs) -> list[object]:
    folders = [str(place.folder / "selection"), str(runs.whole / "selection")]
    return place.select(
        method="combine", method_args=json.dumps({"folders": folders}), output_dir=place.folder / "combined"
    )


READERS: dict[str, Words] = {
    "select again": again("select"),
    "train again": again("train"),
    "evaluate again": again("evaluate"),
    "select with another seed": lambda place, runs: _select_anew(place),
    "train from it": lambda place, runs: place.train(
        selection_file=place.folder / "selection", output_dir=place.folder / "second", max_steps=2
    ),
    "train on": lambda place, runs: _resume(place),
    "compare": lambda place, runs: [
        *("compare", place.folder / "selection", f"copy={runs.whole / 'selection'}"),
        *("--output", place.folder / "compare.html"),
    ],
    "explain": lambda place, runs: ["explain", *place.select()[1:], "--row", "3"],
    "combine": _combine,
    "report": lambda place, runs: [
        *("report", place.folder / "evaluation", "--selection_dir", place.folder / "selection"),
        *("--output", place.folder / "report.html"),
    ],
    "replay": lambda place, runs: place.evaluate(
        backend="replay", replay_from=place.folder / "evaluation", output_dir=place.folder / "replayed"
    ),
}


def _select_anew(place: Place) -> list[object]:
    """Another selection from the same scores, which is allowed if no model was trained on the first."""
    shutil.rmtree(place.folder / "model")
    return place.select(selection_seed=7)


def _resume(place: Place) -> list[object]:
    """A training whose last step was killed before the model was saved."""
    for name in ("model.safetensors", "training.json", "finished.json"):
        (place.folder / "model" / name).unlink(missing_ok=True)
    return again("train")(place, None)  # type: ignore[arg-type]


# How a message may name a file, beside its name.
NAMED = ("other inputs", "other settings", "other rows", "no answers at", "tokenizer", "template")
PAGES = ("compare", "explain", "report")
SELECTION_READERS = (
    "select again",
    "select with another seed",
    "train from it",
    "compare",
    "explain",
    "combine",
    "report",
)
CHECKPOINT = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "checkpoint.json",
)
# The files of a run, and what reads them.
FILES: dict[str, tuple[str, ...]] = {
    **{
        f"selection/{name}": SELECTION_READERS
        for name in (
            *("heads.json", "importance.parquet", "probe.parquet", "importance.manifest.json"),
            *("importance/part-000000001.parquet", "losses.manifest.json", "losses/part-000000000.parquet"),
            *("scores.manifest.json", "scores/part-000000000.parquet", "scores.json"),
            *(
                "selection.parquet",
                "selection.json",
                "examples.json",
                "dropped.parquet",
                "finished.json",
                "trained_on.json",
            ),
        )
    },
    **{
        f"model/{name}": ("train again", "evaluate again")
        for name in (
            *("model.safetensors", "training.json", "training_settings.json", "config.json", "tokenizer.json"),
            *(
                "tokenizer_config.json",
                "chat_template.jinja",
                "generation_config.json",
                "selection.json",
                "finished.json",
            ),
        )
    },
    **{f"model/checkpoint-4/{name}": ("train again", "train on") for name in CHECKPOINT},
    **{
        f"evaluation/{name}": ("evaluate again", "report", "replay")
        for name in ("generations/quiz.jsonl", "verdicts/quiz.jsonl", "results.json", "settings.json", "finished.json")
    },
}
