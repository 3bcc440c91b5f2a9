"""From a study's file to its points and their steps. What several points need is one step: heads by reference model and probe,
scores by scorer, pool, reference model and heads."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from circuitseer_trl.artifacts import FORMAT, fingerprint, write_text
from circuitseer_trl.configs import UNUSED_BY_HEADS, PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.finished import by_content
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import WITHOUT_SELECTION, check_names
from circuitseer_trl.selection.parts import Parts, make_parts
from circuitseer_trl.studies.study_file import Choice, Study
from circuitseer_trl.studies.task_loop import finished_tasks
from circuitseer_trl.studies.tasks import Task

PATHS = (
    *("dataset_name", "decontaminate_against", "reference_model", "heads_file", "method_args", "parameters"),
    "noise_filter_model",
    *("model_name_or_path", "chat_template_path", "deepspeed"),
)  # keys whose values may name files
_HEADS = ("heads.json", "importance.parquet", "probe.parquet", "retrieval.parquet")
_SCORES = (
    "scores",
    "scores.manifest.json",
    "scores.json",
    "token_views.json",
    "noise",
    "fitted",
    "losses",
    "losses.manifest.json",
    "token_statistics",
    "token_statistics.manifest.json",
)
_PASSES = ("losses", "losses.manifest.json", "token_statistics", "token_statistics.manifest.json")
_OF_REFERENCE = (
    *("reference_model", "reference_revision", "reference_dtype", "reference_max_length", "max_batch_tokens"),
    "probe_format",
)


@dataclass(frozen=True)
class Point:
    """One run of a study: a row of its tables.

    Attributes:
        name: Its name, and that of its folder in `points/`.
        method: Name of the method in the study.
        model: Name of the target model, and `model_name_or_path` its place.
        reference_model: Name of the reference model, and `budget` that of the budget; None if the study has no list of them, or
            the point does not depend on them.
        settings: Keys of its steps: `data`, `selection`, `training`, `evaluation`; empty for a step that it does not have.
        key: A fingerprint of what its selection and its model depend on; files count by their content.
        tasks: Names of its own steps.
        shared: Folders of the heads and scores that it shares, below the study's folder.
    """

    name: str
    method: str
    selection_method: str
    model: str
    model_name_or_path: str
    reference_model: str | None
    budget: str | None
    selection_seed: int | None
    training_seed: int | None
    settings: Mapping[str, Mapping[str, Any]]
    key: str
    tasks: Sequence[str]
    shared: Mapping[str, str]

    @property
    def folder(self) -> str:
        return f"points/{self.name}"


@dataclass(frozen=True)
class StudyPlan:
    """The points of a study, and all steps in the order in which they are done."""

    points: list[Point]
    tasks: list[Task]
    recipes: Mapping[Path, str]

    def write_recipes(self) -> None:
        """Writes the recipe of each step, for the steps to read and for the user to run one of them alone."""
        for path, text in self.recipes.items():
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)

    def finished(self, tasks: Sequence[Task], num_processes: int) -> list[str]:
        """Names of the tasks that are finished by the recipes of this plan; the folder may still have those of an earlier one."""
        with tempfile.TemporaryDirectory() as folder:
            places = {str(path): f"{folder}/{number}.yaml" for number, path in enumerate(self.recipes)}
            for path, text in self.recipes.items():
                Path(places[str(path)]).write_text(text, encoding="utf-8")
            own = [replace(task, arguments=[places.get(word, word) for word in task.arguments]) for task in tasks]
            return finished_tasks(own, num_processes)


class _Planner:
    """Collects points and tasks."""

    def __init__(self, study: Study, root: Path) -> None:
        self.study, self.root = study, root
        self.points: dict[str, Point] = {}
        self.tasks: dict[str, Task] = {}
        self.recipes: dict[Path, str] = {}
        self.passes: dict[str, Task] = {}  # by content, the task that computes a stored pass over the pool first
        self.data = by_content(study.data, PATHS)

    def recipe(self, path: Path, values: Mapping[str, Any]) -> list[str]:
        """The words that name a recipe with these values; it is written later."""
        self.recipes[path] = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
        return ["--config", str(path)]

    def task(self, task: Task) -> Task:
        return self.tasks.setdefault(task.name, task)

    def shared(self, kind: str, key: str, values: Mapping[str, Any], more: list[str], needs: list[Task]) -> Task:
        """A step that points share, in a folder of its content."""
        folder = f"shared/{kind}/{key}"
        path = self.root / folder
        words = [*self.recipe(path / "recipe.yaml", values), "--output_dir", str(path), *more]
        command: Any = {"heads": "find-heads", "scores": "score-pool"}[kind]
        links = [(task.output_dir, list(_PASSES)) for task in needs]
        return self.task(Task(folder, command, folder, str(path), words, [task.name for task in needs], links))

    def stored_pass(
        self, values: Mapping[str, Any], name: str = "losses", settings: Any = None
    ) -> tuple[str, list[Task]]:
        """The fingerprint of a pass over the pool that a step needs, and the task that computes it if there is one."""
        keys = by_content({key: values.get(key) for key in _OF_REFERENCE}, PATHS)
        key = fingerprint([self.data, keys, *([name, settings] if settings else [])])
        return key, [self.passes[key]] if key in self.passes else []

    def heads(self, values: Mapping[str, Any], config: SelectionConfig) -> Task:
        unused = set(UNUSED_BY_HEADS) | {"output_dir", "report_to"}
        used = {key: value for key, value in asdict(config).items() if key not in unused}
        own = {key: value for key, value in values.items() if key not in unused}
        own["criterion"] = config.criterion  # which the method may have set
        key = fingerprint([FORMAT, self.data, by_content(used, PATHS)])
        losses, needs = self.stored_pass(asdict(config)) if config.probe_strategy == "max_loss" else ("", [])
        task = self.shared("heads", key, {**self.study.data, **own}, [], needs)
        if losses:
            self.passes.setdefault(losses, task)
        return task

    def scores(
        self, values: Mapping[str, Any], config: SelectionConfig, parts: Parts, heads: Task | None
    ) -> tuple[Task, list[str]]:
        """The step that scores the pool, and the words that name the heads that it scores with."""
        used: dict[str, Any] = {
            "parameters": {item.name: getattr(parts.scorer, item.name) for item in fields(parts.scorer) if item.init}
        }
        if parts.scorer.needs != "text":
            used |= {key: getattr(config, key) for key in _OF_REFERENCE}
        if parts.scorer.needs == "heads":
            used |= {key: getattr(config, key) for key in ("head_set", "head_ratio", "head_seed", "heads_file")}
        key = fingerprint([FORMAT, self.data, parts.method, by_content(used, PATHS), heads.name if heads else None])
        more = [] if heads is None else ["--heads_file", f"{heads.output_dir}/heads.json"]
        needs = [] if heads is None else [heads]
        passes = parts.scorer.stored_passes()
        if config.noise_filter_ratio is not None:
            noise = {key: getattr(config, key) for key in SelectionConfig.groups["noise filter"]}
            key = fingerprint([key, by_content(noise, PATHS)])
            passes |= {"losses": {}} if config.noise_filter_model is None else {}
        stored = [self.stored_pass(asdict(config), *each) for each in passes.items()]
        needs += [task for _, found in stored for task in found if task not in needs]
        drawn = ("selection_seed", "budget_ratio", "budget_size", "budget_tokens", "length_control")
        own = {name: value for name, value in values.items() if name not in drawn}
        task = self.shared("scores", key, {**self.study.data, **own}, more, needs)
        for each in [key for key, _ in stored] + ([self.stored_pass(asdict(config))[0]] if passes else []):
            self.passes.setdefault(each, task)  # any pass has the losses
        return task, more

    def point(self, method: Choice, model: Choice, reference: Choice, budget: Choice, seeds: tuple[int, int]) -> None:
        study, named = self.study, self.study.named
        name = method.keys.get("method", "")
        without = name in WITHOUT_SELECTION
        training = {**study.sft, **model.keys, "seed": seeds[1]} if name != "zero_shot" else {}
        target = model.keys.get("model_name_or_path", study.sft.get("model_name_or_path"))
        selection: dict[str, Any] = {}
        config, parts, refers = None, None, False
        if not without:
            selection = {**study.selection, **method.keys, **reference.keys, **budget.keys}
            selection = {key: value for key, value in selection.items() if value is not None}
            selection |= {"selection_seed": seeds[0]}
            config, parts = self.check_selection(method, selection)
            refers = parts.scorer.needs != "text" or config.budget_tokens is not None
            if not refers:
                selection = {key: value for key, value in selection.items() if key not in _OF_REFERENCE}
        words = [method.name]
        words += [reference.name] if named["reference"] and refers else []
        words += [budget.name] if named["budget"] and not without else []
        words += [model.name] if named["model"] else []
        words += [f"s{seeds[0]}"] if not without else []
        words += [f"t{seeds[1]}"] if training else []
        label = ".".join(words)
        folder, tasks, shared, drawn = f"points/{label}", list[Task](), dict[str, str](), dict[str, Any]()
        path = self.root / folder
        if config is not None and parts is not None:
            detect = parts.scorer.needs == "heads" and config.head_set == "detected" and not config.heads_file
            heads = self.heads(selection, config) if detect else None
            scores, more = self.scores(selection, config, parts, heads)
            drawn = drawn_from(config, parts, scores)
            shared = {"scores": scores.folder} | ({"heads": heads.folder} if heads else {})
            links = [(scores.output_dir, list(_SCORES))] + ([(heads.output_dir, list(_HEADS))] if heads else [])
            arguments = self.recipe(path / "recipes" / "selection.yaml", {**study.data, **selection})
            arguments += ["--output_dir", str(path / "selection"), *more]
            place = str(path / "selection")
            tasks.append(Task(f"{folder}/select", "select-data", folder, place, arguments, [scores.name], links))
        trained = by_content(training or {"model_name_or_path": target}, PATHS)
        key = fingerprint([FORMAT, self.data, drawn, trained])
        if label in self.points:
            if self.points[label].key != key:
                raise ValueError(f"two points have the name {label!r}. Give a method or a model another `name`.")
            return
        if training:
            arguments = self.recipe(path / "recipes" / "training.yaml", {**study.data, **training})
            arguments += ["--output_dir", str(path / "model")]
            arguments += ["--selection_file", str(path / "selection" / "selection.parquet")] if selection else []
            needs = [tasks[-1].name] if tasks else []
            tasks.append(Task(f"{folder}/train", "train-sft", folder, str(path / "model"), arguments, needs, []))
        chat = {key: study.data[key] for key in ("system_prompt", "chat_date") if key in study.data}
        evaluation = {**chat, **study.eval}
        arguments = self.recipe(path / "recipes" / "evaluation.yaml", evaluation)
        arguments += ["--model_name_or_path", str(path / "model") if training else str(target)]
        arguments += ["--output_dir", str(path)]
        launch = backend_class(evaluation.get("backend", "transformers")).one_process_a_gpu(evaluation)
        needs = [tasks[-1].name] if tasks else []
        tasks.append(Task(f"{folder}/evaluate", "evaluate", folder, str(path), arguments, needs, [], launch))
        for each in tasks:
            self.task(each)
        self.points[label] = Point(
            name=label,
            method=method.name,
            selection_method=name or str(selection.get("scorer")),
            model=model.name or Path(str(target)).name,
            model_name_or_path=str(target),
            reference_model=reference.name or None if refers else None,
            budget=None if without else budget.name or None,
            selection_seed=None if without else seeds[0],
            training_seed=seeds[1] if training else None,
            settings={
                **{"data": dict(study.data), "selection": selection},
                **{"training": training, "evaluation": evaluation},
            },
            key=key,
            tasks=[task.name for task in tasks],
            shared=shared,
        )

    def check_selection(self, method: Choice, selection: Mapping[str, Any]) -> tuple[SelectionConfig, Parts]:
        """The recipe of a point, read as its step will read it."""
        pool, config = read_keys(
            {**self.study.data, **selection}, f"method {method.name}", PoolConfig, SelectionConfig, output_dir="unused"
        )
        check_names(pool, config)
        parts = make_parts(config)
        parts.scorer.read_inputs()
        if (parts.scorer.needs != "text" or config.budget_tokens is not None) and config.reference_model is None:
            raise ValueError(f"the method {method.name} needs a reference model: set `reference_models`.")
        return config, parts


def drawn_from(config: SelectionConfig, parts: Parts, scores: Task) -> dict[str, Any]:
    """What a selection depends on, beside its pool: scores, combination, sampler, budget and seed."""
    keys = ("length_control", "budget_ratio", "budget_size", "budget_tokens", "selection_seed")
    drawn: dict[str, Any] = {"scores": scores.name, "sampling": parts.sampling, "sampler": asdict(parts.sampler)}
    drawn |= {"combination": None if parts.combination is None else asdict(parts.combination)}
    if config.budget_tokens is not None:  # counted with its tokenizer
        drawn |= by_content({key: getattr(config, key) for key in _OF_REFERENCE}, PATHS)
    return drawn | {key: getattr(config, key) for key in keys}


def read_keys(values: Mapping[str, Any], what: str, *kinds: Any, **flags: str) -> Any:
    """Reads keys as the step with these dataclasses does. Errors name `what` in place of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        words = ["--config", str(path), *(word for key, value in flags.items() for word in (f"--{key}", value))]
        try:
            return parse_recipe(*kinds, args=words, prog="study", kinds=SELECTION_KINDS)
        except ValueError as error:
            raise ValueError(str(error).replace(f"recipe {path}", what).replace(str(path), what)) from error


def plan_study(study: Study, root: Path) -> StudyPlan:
    """The points of a study and their steps. Checks all keys but those of training, which take TRL's classes."""
    planner = _Planner(study, root)
    read_keys(study.eval, "`eval`", EvaluationConfig, model_name_or_path="unused", output_dir="unused")
    for model in study.models:
        check_model_folder(str(model.keys.get("model_name_or_path", study.sft.get("model_name_or_path"))))
    nothing = Choice("", {})
    for model in study.models:
        for budget in study.budgets or [nothing]:
            for reference in study.reference_models or [nothing]:
                for seeds in study.seeds:
                    for method in study.methods:
                        planner.point(method, model, reference, budget, seeds)
    tasks = sorted(planner.tasks.values(), key=lambda task: not task.folder.startswith("shared/"))  # stable
    return StudyPlan(list(planner.points.values()), tasks, planner.recipes)
