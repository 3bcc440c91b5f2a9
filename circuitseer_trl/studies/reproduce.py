"""Which steps does a run have, and which are finished? Plans and runs the steps of four recipes."""

import argparse
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import fingerprint, read_json, write_json
from circuitseer_trl.children import run_child
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.named_files import SHIPPED, find_file
from circuitseer_trl.recipe import read_recipe
from circuitseer_trl.redaction import redact_command
from circuitseer_trl.selection.methods import WITHOUT_SELECTION, get_method

PREFIXES = ("data", "select", "train", "evaluate")
KINDS = {
    "data": ("data",),
    "selection": ("selection", "ablations"),
    "sft": ("sft",),
    "eval": ("eval",),
}  # kinds among which the name of each flag is searched
# Earlier names of steps, which fingerprints keep, so that runs of earlier versions stay finished.
RECORDED_NAMES = {"circuitseer_trl.scripts.evaluate": "eval.run", "circuitseer_trl.scripts.report": "eval.report"}


@dataclass(frozen=True)
class Step:
    """One process of a run.

    Attributes:
        name: Name of the step in `steps.json`.
        module: Module that is run with `-m`.
        arguments: Its arguments on the command line.
        product: File that exists when the step is finished.
        inputs: Files whose content the step depends on.
        launch: Whether the step starts with `accelerate launch` if that is asked for.
    """

    name: str
    module: str
    arguments: list[str]
    product: Path
    inputs: list[Path]
    launch: bool = True

    def fingerprint(self) -> str:
        texts = [path.read_text(encoding="utf-8") for path in self.inputs]
        # As in a checkout: another place of the same package leaves a run finished.
        arguments = [word.removeprefix(f"{SHIPPED}/") for word in self.arguments]
        return fingerprint([RECORDED_NAMES.get(self.module, self.module), arguments, texts])


def read_overrides(words: list[str]) -> dict[str, dict[str, str]]:
    """Reads `--STEP.KEY VALUE` pairs into one dict for each step."""
    overrides: dict[str, dict[str, str]] = {prefix: {} for prefix in PREFIXES}
    rest = iter(words)
    for word in rest:
        flag, given, value = word.partition("=")
        prefix, _, key = flag.removeprefix("--").partition(".")
        if not flag.startswith("--") or prefix not in PREFIXES or not key:
            raise ValueError(
                f"Unknown flag {word!r}. Keys of a step are written --STEP.KEY VALUE, with {', '.join(PREFIXES)} as STEP."
            )
        following = value if given else next(rest, None)
        if following is None:
            raise ValueError(f"The flag {flag} needs a value after it.")
        overrides[prefix][key] = following
    return overrides


def flags(values: dict[str, Any]) -> list[str]:
    return [word for key, value in values.items() for word in (f"--{key}", str(value))]


def plan(options: argparse.Namespace, overrides: dict[str, dict[str, str]]) -> list[Step]:
    """Plans the steps of a run. Raises if a recipe, a method or the model's folder is wrong."""
    recipes = {flag: find_file(getattr(options, flag), kinds) for flag, kinds in KINDS.items()}
    data = read_recipe(recipes["data"]) | overrides["data"]
    selecting = read_recipe(recipes["selection"]) | overrides["select"]
    training = read_recipe(recipes["sft"]) | overrides["train"]
    evaluating = read_recipe(recipes["eval"]) | overrides["evaluate"]
    method = selecting.get("method", "circuitseer")
    if method not in WITHOUT_SELECTION:
        get_method(method)
    if not training.get("model_name_or_path"):
        raise ValueError(
            "No model to train: set `model_name_or_path` in the training recipe, or --train.model_name_or_path."
        )
    check_model_folder(training["model_name_or_path"])

    tracked = ["--report_to", "wandb"] if options.wandb_group else []
    output = options.output_dir
    selection_dir, model_dir = output / "selection", output / "model"
    steps = []
    if method not in WITHOUT_SELECTION:
        arguments = ["--config", str(recipes["data"]), "--config", str(recipes["selection"])]
        arguments += ["--output_dir", str(selection_dir), *tracked, *flags(overrides["data"] | overrides["select"])]
        steps.append(
            Step(
                "select",
                "circuitseer_trl.scripts.select_data",
                arguments,
                selection_dir / "selection.json",
                [recipes["data"], recipes["selection"]],
            )
        )
    if method != "zero_shot":
        arguments = ["--config", str(recipes["data"]), "--config", str(recipes["sft"]), "--output_dir", str(model_dir)]
        if steps:
            arguments += ["--selection_file", str(selection_dir / "selection.parquet")]
        inputs = [recipes["data"], recipes["sft"], *([recipes["selection"]] if steps else [])]
        steps.append(
            Step(
                "train",
                "circuitseer_trl.scripts.train_sft",
                [*arguments, *tracked, *flags(overrides["data"] | overrides["train"])],
                model_dir / "training.json",
                inputs,
            )
        )
    model = training["model_name_or_path"] if method == "zero_shot" else str(model_dir)
    arguments = ["--config", str(recipes["eval"]), "--model_name_or_path", model, "--output_dir", str(output)]
    arguments += flags({key: data[key] for key in ("system_prompt", "chat_date") if key in data})
    steps.append(
        Step(
            "evaluate",
            "circuitseer_trl.scripts.evaluate",
            [*arguments, *tracked, *flags(overrides["evaluate"])],
            output / "results.json",
            [recipes["eval"]],
            launch=backend_class(evaluating.get("backend", "transformers")).one_process_a_gpu(evaluating),
        )
    )
    page = output / "report.html"
    steps.append(
        Step("report", "circuitseer_trl.scripts.report", [str(output), "--output", str(page)], page, [], launch=False)
    )
    return steps


def command(step: Step, accelerate_config: Path | None, num_processes: int | None) -> list[str]:
    if not step.launch or (accelerate_config is None and num_processes is None):
        return [sys.executable, "-m", step.module, *step.arguments]
    launch = [sys.executable, "-m", "circuitseer_trl.distributed.launcher"]
    launch += ["--config_file", str(accelerate_config)] if accelerate_config is not None else []
    launch += ["--num_processes", str(num_processes)] if num_processes is not None else []
    return [*launch, "-m", step.module, *step.arguments]


def run(steps: list[Step], output_dir: Path, accelerate_config: Path | None, num_processes: int | None) -> int:
    """Runs the steps that are not finished. Returns the exit status of the first step that fails, or 0."""
    record_path = output_dir / "steps.json"
    record = read_json(record_path) if record_path.is_file() else {}
    again = False  # after a step that runs again, all later steps run again
    for step in steps:
        asked = step.fingerprint()
        finished = record.get(step.name, {}).get("fingerprint") == asked and step.product.exists()
        if finished and not again:
            print(f"[{step.name}] finished before, in {record[step.name]['seconds']:.1f} s", flush=True)
            continue
        again = True
        words = command(step, accelerate_config, num_processes)
        shown = redact_command(words)
        print(f"[{step.name}] {shlex.join(shown)}", flush=True)
        started = time.monotonic()
        status = run_child(words)
        seconds = time.monotonic() - started
        if status != 0:
            print(
                f"[{step.name}] failed with status {status} after {seconds:.1f} s: {shlex.join(shown)}", file=sys.stderr
            )
            return status
        record[step.name] = {"fingerprint": asked, "command": shown, "seconds": round(seconds, 1)}
        write_json(record_path, record)
        print(f"[{step.name}] took {seconds:.1f} s", flush=True)
    return 0
