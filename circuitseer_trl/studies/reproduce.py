"""Which steps does a run have, and which are finished? Plans and runs the steps of four recipes."""

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.checks import check_count
from circuitseer_trl.children import run_child
from circuitseer_trl.configs import DryRunConfig, PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.finished_evaluation import evaluation_step
from circuitseer_trl.finished import FinishedStep, has_gpu, selection_step
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.named_files import SELECTION_KINDS, find_file
from circuitseer_trl.recipe import parse_recipe, read_recipe
from circuitseer_trl.redaction import redact_command
from circuitseer_trl.selection.methods import WITHOUT_SELECTION, check_names, get_method
from circuitseer_trl.selection.step_cards import CARDS
from circuitseer_trl.training.finished_training import training_step
from circuitseer_trl.yaml_files import read_yaml

logger = logging.getLogger(__name__)

PAGE = "report.html"

PREFIXES = ("data", "select", "train", "evaluate")
KINDS = {
    "data": ("data",),
    "selection": ("selection", "ablations"),
    "sft": ("sft",),
    "eval": ("eval",),
}  # kinds among which the name of each flag is searched


@dataclass(frozen=True)
class Step:
    """One process of a run.

    Attributes:
        name: Name of the step in `steps.json`.
        module: Module that is run with `-m`.
        arguments: Its arguments on the command line.
        finished: Gives what the step depends on, as of now. The step itself records that it has ended.
        launch: Whether the step starts with `accelerate launch` if that is asked for.
        check: Module that checks the arguments and what they name before the first step runs; None if planning has checked all.
    """

    name: str
    module: str
    arguments: list[str]
    finished: Callable[[], FinishedStep]
    launch: bool = True
    check: str | None = None

    def seconds_before(self, record: dict[str, Any]) -> float | None:
        """The seconds that the step took when it ended; None if it has to run."""
        finished, seconds = self.finished(), record.get(self.name, {}).get("seconds")
        if seconds is None or finished.text(finished.made_from(), trust_hub=True) is None:
            return None
        return float(seconds)


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


def check_processes(num_processes: int | None, accelerate_config: str | None) -> None:
    """Raises if a number of processes cannot be started. Without a config, accelerate starts one for each GPU, or only one."""
    if num_processes is None:
        return
    check_count("num_processes", num_processes)
    if num_processes > 1 and accelerate_config is None and not has_gpu():
        raise ValueError(
            f"`num_processes` is {num_processes}, but without a GPU accelerate starts one process, unless a config says "
            "otherwise. Add `--accelerate_config cpu`, or a config of your own."
        )


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
        steps.append(selecting_step(arguments))
    if method != "zero_shot":
        arguments = ["--config", str(recipes["data"]), "--config", str(recipes["sft"]), "--output_dir", str(model_dir)]
        if steps:
            arguments += ["--selection_file", str(selection_dir / "selection.parquet")]
        arguments += [*tracked, *flags(overrides["data"] | overrides["train"])]
        steps.append(training_process(arguments, options))
    model = training["model_name_or_path"] if method == "zero_shot" else str(model_dir)
    arguments = ["--config", str(recipes["eval"]), "--model_name_or_path", model, "--output_dir", str(output)]
    arguments += flags({key: data[key] for key in ("system_prompt", "chat_date") if key in data})
    arguments += [*tracked, *flags(overrides["evaluate"])]
    launch = backend_class(evaluating.get("backend", "transformers")).one_process_a_gpu(evaluating)
    return [*steps, evaluating_step(arguments, launch), reporting_step(output)]


def selecting_step(arguments: list[str]) -> Step:
    pool_config, config, _ = parse_recipe(
        *(PoolConfig, SelectionConfig, DryRunConfig), args=arguments, prog="select-data", kinds=SELECTION_KINDS
    )
    check_names(pool_config, config)
    return Step(
        "select",
        "circuitseer_trl.scripts.select_data",
        arguments,
        lambda: selection_step("select-data", pool_config, config),
    )


def training_process(arguments: list[str], options: argparse.Namespace) -> Step:
    launch = read_yaml(options.accelerate_config) if options.accelerate_config is not None else {}
    num_processes = options.num_processes or launch.get("num_processes") or 1
    return Step(
        "train",
        "circuitseer_trl.scripts.train_sft",
        arguments,
        lambda: training_step(arguments, num_processes),
        check="circuitseer_trl.training.training_keys",
    )


def evaluating_step(arguments: list[str], launch: bool) -> Step:
    config = parse_recipe(EvaluationConfig, args=arguments, prog="evaluate", kinds=("eval",))
    return Step(
        "evaluate",
        "circuitseer_trl.scripts.evaluate",
        arguments,
        lambda: evaluation_step(config),
        launch=launch,
        check="circuitseer_trl.evaluation.readable_benchmarks",
    )


def reporting_step(output: Path) -> Step:
    page = output / PAGE

    def finished() -> FinishedStep:
        drawn = [output / "results.json", output / "verdicts", *(output / "selection" / name for name in CARDS)]
        return FinishedStep("report", str(output), {}, [str(path) for path in drawn if path.exists()])

    return Step(
        "report", "circuitseer_trl.scripts.report", [str(output), "--output", str(page)], finished, launch=False
    )


def command(step: Step, accelerate_config: Path | None, num_processes: int | None) -> list[str]:
    if not step.launch or (accelerate_config is None and num_processes is None):
        return [sys.executable, "-m", step.module, *step.arguments]
    launch = [sys.executable, "-m", "circuitseer_trl.distributed.launcher"]
    launch += ["--config_file", str(accelerate_config)] if accelerate_config is not None else []
    launch += ["--num_processes", str(num_processes)] if num_processes is not None else []
    return [*launch, "-m", step.module, *step.arguments]


def check_arguments(steps: list[Step]) -> int:
    """Runs the checks of steps. Returns the exit status of the first mistake, or 0."""
    for step in steps:
        if step.check is not None and (status := run_child([sys.executable, "-m", step.check, *step.arguments])):
            return status
    return 0


def run(steps: list[Step], output_dir: Path, accelerate_config: Path | None, num_processes: int | None) -> int:
    """Runs the steps that are not finished. Returns the exit status of the first step that fails, or 0."""
    record_path = output_dir / "steps.json"
    record = read_seconds(record_path)
    checked = False
    for index, step in enumerate(steps):
        if (before := step.seconds_before(record)) is not None:
            print(f"[{step.name}] finished before, in {before:.1f} s", flush=True)
            continue
        if not checked and (status := check_arguments(steps[index + 1 :])):
            return status
        checked = True
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
        if step.name == "report":  # it depends on what the steps before it wrote
            finished = step.finished()
            finished.record(finished.made_from(), "The page is drawn.", [PAGE])
        record[step.name] = {"command": shown, "seconds": round(seconds, 1)}
        write_json(record_path, record)
        print(f"[{step.name}] took {seconds:.1f} s", flush=True)
    return 0


def read_seconds(path: Path) -> dict[str, Any]:
    """Reads `steps.json`. A broken one is written again, since a step that is finished then takes seconds."""
    if not path.is_file():
        return {}
    try:
        record = read_json(path)
        if isinstance(record, dict) and all(isinstance(step, dict) for step in record.values()):
            return record
        logger.warning("%s is broken. It is written again.", path)
    except ValueError as error:
        logger.warning("%s It is written again.", error)
    return {}
