"""Runs a study: checks its folder and all keys, does what is not finished, and writes what its tables and its page show."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import check_format, format_record, read_json, write_json
from circuitseer_trl.children import run_child, run_children, run_fork
from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import ExecutorConfig, PoolConfig
from circuitseer_trl.evaluation.evaluation_config import SAMPLE_SETTINGS, EvaluationConfig
from circuitseer_trl.finished import SELECTION_PRODUCTS
from circuitseer_trl.studies.study_file import Study
from circuitseer_trl.studies.study_plan import Point, StudyPlan, read_keys
from circuitseer_trl.studies.task_loop import Session, TaskLoop, read_record, session_name
from circuitseer_trl.studies.tasks import Task
from circuitseer_trl.training.training_config import TrainingConfig

PLAN_FILE = "study.json"
_OWN = ("logs", "shared", "points", PLAN_FILE)


def point_record(point: Point) -> dict[str, Any]:
    """The entry of a point in `study.json`. Its folders are relative to that file."""
    return {**vars(point), "folder": point.folder}


def check_folder(root: Path, plan: StudyPlan) -> None:
    """Raises if the folder has another study, or a point that was begun with other settings.

    Points that the study no longer has stay where they are.
    """
    path = root / PLAN_FILE
    if not path.is_file():
        others = [each.name for each in root.iterdir() if not each.name.startswith("_")] if root.is_dir() else []
        if foreign := sorted(set(others) - set(_OWN)):
            raise ValueError(f"{root} is no folder of a study: it has {foreign[0]}. Choose another `output_dir`.")
        return
    record = read_json(path)
    check_format(path, record)
    before = {point["name"]: point for point in record["points"] if was_begun(root / point["folder"])}
    names = {point.name for point in plan.points}
    if before and not names & before.keys():
        raise ValueError(
            f"{root} is of another study: it has {', '.join(list(before)[:3])}, and this one has none of its points. "
            "Choose another `output_dir`."
        )
    for point in plan.points:
        old = before.get(point.name)
        if old is not None and old["key"] != point.key:
            changed = _changed(old["settings"], point.settings) or ["the content of a file or a model"]
            raise ValueError(
                f"The point {point.name} was begun in {root} with other settings, and it is not overwritten. Changed: "
                f"{'; '.join(changed[:4])}. Give the method another `name`, choose another `output_dir`, or delete "
                f"{root / point.folder}."
            )
        if old is not None and (root / point.folder / "settings.json").is_file():
            check_answers(root, point, old["settings"]["evaluation"])


def check_answers(root: Path, point: Point, before: Mapping[str, Any]) -> None:
    """Raises if the answers of a point were made with other settings. Other settings of an evaluation may change."""
    places = {"model_name_or_path": "unused", "output_dir": "unused"}
    old, new = (
        read_keys(values, "`eval`", EvaluationConfig, **places) for values in (before, point.settings["evaluation"])
    )
    names = ("backend", "served_model_name", *SAMPLE_SETTINGS)
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    if changed := [f"{name}: {one!r} then, {other!r} now" for name, one, other in pairs if one != other]:
        raise ValueError(
            f"The point {point.name} has answers in {root} that were made with other settings, and they are not "
            f"overwritten. Changed: {'; '.join(changed)}. Choose another `output_dir`, or delete settings.json and "
            f"generations in {root / point.folder}."
        )


def was_begun(folder: Path) -> bool:
    """Whether a point has a selection, a model, or results."""
    return any(
        (folder / name).exists()
        for name in ("selection/selection.json", "model/training_settings.json", "results.json")
    )


def _changed(old: Any, new: Any) -> list[str]:
    return [
        f"{key}: {old.get(step, {}).get(key)!r} then, {new.get(step, {}).get(key)!r} now"
        for step in ("data", "selection", "training")
        for key in sorted({*old.get(step, {}), *new.get(step, {})})
        if old.get(step, {}).get(key) != new.get(step, {}).get(key)
    ]


def check_steps(study: Study, plan: StudyPlan) -> int:
    """Checks the keys of training and reads the benchmarks, in a copy of this process, since TRL's classes look for devices.

    Returns:
        The exit status of the copy: 0 where nothing is wrong.
    """
    trained = {point.model_name_or_path: point.settings for point in plan.points if point.settings["training"]}

    def work(_: list[str]) -> None:
        from circuitseer_trl.evaluation.benchmarks import load_benchmark

        places = {"model_name_or_path": "unused", "output_dir": "unused"}
        evaluation = read_keys(study.eval, "`eval`", EvaluationConfig, **places)
        evaluation.check_files()
        for name in evaluation.benchmarks:
            load_benchmark(name, evaluation.benchmarks_dir)
        if not trained:
            return
        from trl import ModelConfig, SFTConfig  # takes 3 seconds

        from circuitseer_trl.training.preflight import check_tokens
        from circuitseer_trl.training.training_values import check_training_values

        for settings in trained.values():
            values = {**settings["data"], **settings["training"]}
            kinds = (PoolConfig, TrainingConfig, SFTConfig, ModelConfig)
            _, _, args, _ = read_keys(values, "`sft`", *kinds, output_dir="unused")
            check_tokens(args)  # before they are in `study.json`
            check_training_values(args)

    return run_fork(lambda: run_command(work, []))


def chosen_tasks(plan: StudyPlan, only: Sequence[str]) -> list[Task]:
    """The tasks of some points, and those that they need; of all points if none is named."""
    if not only:
        return plan.tasks
    points = {point.name: point for point in plan.points}
    if unknown := [name for name in only if name not in points]:
        raise ValueError(f"The study has no point {unknown[0]!r}. Its points are {', '.join(points)}.")
    by_name = {task.name: task for task in plan.tasks}
    wanted = [task for name in only for task in points[name].tasks]
    for name in wanted:  # it grows
        wanted += [need for need in by_name[name].needs if need not in wanted]
    return [task for task in plan.tasks if task.name in wanted]


def unevaluated(plan: StudyPlan, num_processes: int) -> list[str]:
    """Names of the points without results of this plan; they may have those of an earlier one."""
    points = {point.tasks[-1]: point.name for point in plan.points}
    last = [task for task in plan.tasks if task.name in points]
    return [points[task.name] for task in last if not task.is_finished(num_processes)]


@contextmanager
def executed(tasks: Sequence[Task], execution: ExecutorConfig) -> Iterator[list[Task]]:
    """The tasks with the executor of their shards. A Ray cluster is joined, or started, once for all of them."""
    if execution.executor == "ranks":
        yield list(tasks)
        return
    from circuitseer_trl.distributed.ray_cluster import ray_cluster

    with ray_cluster(execution.num_actors, execution.ray_address) as address:
        words = ["--executor", execution.executor, "--ray_address", address]
        words += ["--num_actors", str(execution.num_actors)] if execution.num_actors is not None else []
        yield [
            replace(task, arguments=[*task.arguments, *words]) if task.kind in SELECTION_PRODUCTS else task
            for task in tasks
        ]


def run_tasks(
    root: Path, tasks: Sequence[Task], done: Sequence[str], workers: int, launch: tuple[Path | None, int | None] | None
) -> bool:
    """Does the tasks. Returns whether all are done.

    Args:
        done: Names of those that are finished.
        workers: Number of processes that stay.
        launch: An accelerate config and a number of processes; tasks are then started one at a time with `accelerate launch`.
    """
    session = Session(session_name(), root, tasks, (launch[1] if launch else None) or 1, done)
    if launch is not None:

        def start(task: Task, log: Path) -> int:
            return run_child(task.command(*launch))

        return TaskLoop(session, start).run()
    session.write()
    try:
        words = [sys.executable, "-m", "circuitseer_trl.studies.worker", str(session.file)]
        return not any(run_children([(words, worker_environment(number)) for number in range(workers)]))
    finally:
        session.file.unlink(missing_ok=True)


def worker_environment(number: int) -> dict[str, str]:
    """Variables of a worker: one thread where the user has not set it, and one of the GPUs."""
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # it asks without starting CUDA, which copies could not use then
    folder = Path("/proc/driver/nvidia/gpus")
    number_of_gpus = len(list(folder.iterdir())) if folder.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = (
        [str(each) for each in range(number_of_gpus)]
        if visible is None
        else [each for each in visible.split(",") if each]
    )
    if len(gpus) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return environment


def plan_record(file: Path, study: Study, plan: StudyPlan) -> dict[str, Any]:
    """The content of `study.json`."""
    record: dict[str, Any] = {"study": file.stem, "baseline": study.baseline, "seeds_joined": study.joined}
    return record | {
        "seeds": [list(pair) for pair in study.seeds],
        "points": [point_record(point) for point in plan.points],
    }


def write_plan(root: Path, file: Path, study: Study, plan: StudyPlan) -> None:
    """Writes `study.json`, and the recipes of the steps."""
    write_json(root / PLAN_FILE, plan_record(file, study, plan) | format_record())
    plan.write_recipes()


def overview(root: Path, plan: StudyPlan, tasks: Sequence[Task], done: Sequence[str]) -> str:
    """What a run would do: points, what they share, what is finished, and the time by that of steps that are finished."""
    lines = [f"{len(plan.points)} points in {root}/points:"]
    for point in plan.points:
        left = [name.rsplit("/", 1)[1] for name in point.tasks if name not in done]
        lines.append(f"  {point.name}: {'finished' if not left else ', '.join(left)}")
    for kind, what in (("heads", "finds heads"), ("scores", "scores the pool")):
        shared = [task.name for task in plan.tasks if task.folder.startswith(f"shared/{kind}/")]
        for name in shared:
            users = [point.name for point in plan.points if point.shared.get(kind) == name]
            state = "finished" if name in done else f"{what}, once"
            more = f" and {len(users) - 3} more" if len(users) > 3 else ""
            lines.append(f"  {name}: {state}, for {', '.join(users[:3]) or 'other points'}{more}")
    known: dict[str, list[float]] = {}
    for task in plan.tasks:
        record = read_record(root, task.name)
        if record and record["status"] == 0:
            known.setdefault(task.kind, []).append(record["seconds"])
    todo = [task for task in tasks if task.name not in done]
    unknown = sorted({task.kind for task in todo} - known.keys())
    seconds = sum(sum(known[task.kind]) / len(known[task.kind]) for task in todo if task.kind in known)
    lines.append(f"{len(done)} of {len(tasks)} steps are finished. {len(todo)} are to do.")
    if todo:
        lines.append(f"About {seconds:.0f} s of one process, by the mean of the steps that were done.")
    if unknown and todo:
        names = ", ".join(unknown)
        lines.append(f"Not in it, since none was done so far: {names}. --only runs one point first.")
    return "\n".join(lines)
