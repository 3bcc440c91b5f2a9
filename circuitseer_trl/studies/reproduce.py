"""Which steps does a run of four recipes have? It is a study of one point, whose folder is that of the run."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.checks import check_count
from circuitseer_trl.children import run_child
from circuitseer_trl.configs import DryRunConfig, PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.finished import has_gpu
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.named_files import SELECTION_KINDS, find_file
from circuitseer_trl.recipe import parse_recipe, read_recipe
from circuitseer_trl.redaction import redact_command
from circuitseer_trl.selection.methods import WITHOUT_SELECTION, check_names, get_method
from circuitseer_trl.studies.task_loop import Session, TaskLoop, finished_tasks, read_record, session_name
from circuitseer_trl.studies.tasks import PAGE, STEP_NAMES, Kind, Task
from circuitseer_trl.yaml_files import read_yaml

PREFIXES = ("data", "select", "train", "evaluate")
KINDS = {
    "data": ("data",),
    "selection": ("selection", "ablations"),
    "sft": ("sft",),
    "eval": ("eval",),
}  # kinds among which the name of each flag is searched


# Modules that check the arguments of a step, and what they name, before the first step runs. Planning checks the others.
CHECKS: Mapping[Kind, str] = {
    "train-sft": "circuitseer_trl.training.training_keys",
    "evaluate": "circuitseer_trl.evaluation.readable_benchmarks",
}


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


def plan(options: argparse.Namespace, overrides: dict[str, dict[str, str]]) -> list[Task]:
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
    tasks: list[Task] = []

    def add(kind: Kind, place: Path, arguments: list[str], *, launch: bool = True) -> None:
        needs = [task.name for task in tasks[-1:]]
        tasks.append(Task(STEP_NAMES[kind], kind, "", str(place), arguments, needs, [], launch))

    selection_dir, model_dir = output / "selection", output / "model"
    if method not in WITHOUT_SELECTION:
        arguments = ["--config", str(recipes["data"]), "--config", str(recipes["selection"])]
        arguments += ["--output_dir", str(selection_dir), *tracked, *flags(overrides["data"] | overrides["select"])]
        check_selection(arguments)
        add("select-data", selection_dir, arguments)
    if method != "zero_shot":
        arguments = ["--config", str(recipes["data"]), "--config", str(recipes["sft"]), "--output_dir", str(model_dir)]
        if tasks:
            arguments += ["--selection_file", str(selection_dir / "selection.parquet")]
        add("train-sft", model_dir, [*arguments, *tracked, *flags(overrides["data"] | overrides["train"])])
    model = training["model_name_or_path"] if method == "zero_shot" else str(model_dir)
    arguments = ["--config", str(recipes["eval"]), "--model_name_or_path", model, "--output_dir", str(output)]
    arguments += flags({key: data[key] for key in ("system_prompt", "chat_date") if key in data})
    arguments += [*tracked, *flags(overrides["evaluate"])]
    parse_recipe(EvaluationConfig, args=arguments, prog="evaluate", kinds=("eval",))
    backend = backend_class(evaluating.get("backend", "transformers"))
    add("evaluate", output, arguments, launch=backend.one_process_a_gpu(evaluating))
    add("report", output, [str(output), "--output", str(output / PAGE)], launch=False)
    return tasks


def check_selection(arguments: list[str]) -> None:
    pool_config, config, _ = parse_recipe(
        *(PoolConfig, SelectionConfig, DryRunConfig), args=arguments, prog="select-data", kinds=SELECTION_KINDS
    )
    check_names(pool_config, config)


def processes_of(options: argparse.Namespace) -> int:
    """The number of processes that train: a step then sees as many times the rows."""
    launch = read_yaml(options.accelerate_config) if options.accelerate_config is not None else {}
    return int(options.num_processes or launch.get("num_processes") or 1)


def check_arguments(tasks: Sequence[Task]) -> int:
    """Runs the checks of steps. Returns the exit status of the first mistake, or 0."""
    for task in tasks:
        if task.kind in CHECKS and (status := run_child([sys.executable, "-m", CHECKS[task.kind], *task.arguments])):
            return status
    return 0


def run(
    tasks: Sequence[Task],
    output_dir: Path,
    accelerate_config: Path | None,
    num_processes: int | None,
    *,
    trained_by: int = 1,
) -> int:
    """Runs the steps that are not finished, as a study of one point.

    Args:
        trained_by: The number of processes that train.

    Returns:
        The exit status of the first step that fails, or 0.
    """
    done = finished_tasks(tasks, trained_by)
    seconds = read_seconds(output_dir / "steps.json")
    for name in done:
        took = f", in {seconds[name]:.1f} s" if name in seconds else ""
        print(f"[{name}] finished before{took}", flush=True)
    todo = [task for task in tasks if task.name not in done]
    if status := check_arguments(todo[1:]):  # the first one checks its own
        return status

    def start(task: Task, log: Path) -> int:
        words = task.command(accelerate_config, num_processes)
        print(shlex.join(redact_command(words)), flush=True)
        status = run_child(words)
        if status == 0:
            task.record()
        return status

    session = Session(session_name(), output_dir, tasks, trained_by, done)
    if not todo or TaskLoop(session, start).run():
        return 0
    records = [read_record(output_dir, task.name) for task in todo]
    failed = [record["status"] for record in records if record.get("session") == session.name and record["status"]]
    return int(failed[0])


def read_seconds(path: Path) -> dict[str, float]:
    """The seconds of each step in `steps.json`; none if it is broken, since it is written again."""
    try:
        return {name: float(step["seconds"]) for name, step in read_json(path).items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}
