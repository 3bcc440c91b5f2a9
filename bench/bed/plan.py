"""What does a plan of the bed run? Reads a YAML file of base models, kinds of pools, methods, budgets and replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.bed.choosing import check_method
from bench.bed.training import Settings
from bench.bed.world import KINDS
from circuitseer_trl.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
BASES = {
    "demo": ROOT / "recipes" / "demo" / "base_model",
    "seed1": ROOT / "bench" / "bed" / "base_models" / "seed1",
    "deep": ROOT / "bench" / "bed" / "base_models" / "deep",
}
HEADS = ("loss", "contrast", "outside_first_layer")
STARTS = ("targets", "probe")
LENGTHS = ("problem_length", "solution_length", "steps")


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        name: Name of the file without its ending.
        methods: For each method its `name`, and the keys of a selection recipe with `heads` (`loss`, `contrast` or
            `outside_first_layer`), or `matched: {to: NAME, by: problem_length | solution_length | steps}`, or `truth: steps` for
            the pool by what no method sees. With `starts_with` the budget goes to other rows first: to the target problems of
            the replicate (`targets`), or to the rows that its heads are found on (`probe`). Alone, it is a method without a
            choice.
        budgets: Each `{rows: N}`, or `{tokens: N}` with the chat template.
        num_replicates, first_replicate: The replicates are numbered from the first one.
        bases, kinds: Base models, and kinds of pools.
        probe_rows: Rows on which heads are found: of a pool of their own, once for each base model and kind of pool.
        before_solutions: Whether rows are chosen before solutions are bought. No method sees a solution of the pool, and heads
            are found for each replicate, on `probe_rows` random rows of its pool, whose solutions are bought first.
    """

    name: str
    methods: Sequence[Mapping[str, Any]]
    budgets: Sequence[Mapping[str, int]]
    num_replicates: int
    first_replicate: int = 0
    bases: Sequence[str] = ("demo",)
    kinds: Sequence[str] = ("clean",)
    probe_rows: int = 150
    before_solutions: bool = False
    settings: Settings = field(default_factory=Settings)

    @property
    def units(self) -> list[tuple[str, str, int]]:
        """Base model, kind of pool and number of each replicate; replicates of a number follow each other."""
        numbers = range(self.first_replicate, self.first_replicate + self.num_replicates)
        return [(base, kind, number) for number in numbers for base in self.bases for kind in self.kinds]

    @property
    def points(self) -> list[tuple[Mapping[str, Any], Mapping[str, int]]]:
        """The trainings of a replicate: methods and budgets."""
        return [(method, budget) for budget in self.budgets for method in self.methods]


def budget_name(budget: Mapping[str, int]) -> str:
    return "".join(f"{key}:{value}" for key, value in budget.items())


def chooses(method: Mapping[str, Any]) -> bool:
    """Whether a method of a plan chooses rows, or has only those that it starts with."""
    return set(method) != {"name", "starts_with"}


def read_plan(path: Path) -> Plan:
    """Reads a plan. Raises a ValueError if a key or a value is wrong."""
    content = read_yaml(path)
    known = {item.name for item in fields(Plan)} - {"name"}
    if unknown := sorted(set(content) - known):
        raise ValueError(f"{path} has no key {unknown[0]!r}; its keys are {', '.join(sorted(known))}.")
    plan = Plan(name=path.stem, **content | {"settings": Settings(**content.get("settings", {}))})
    for key, values, allowed in (("bases", plan.bases, BASES), ("kinds", plan.kinds, KINDS)):
        if wrong := [value for value in values if value not in allowed]:
            raise ValueError(f"{path}: `{key}` has {wrong[0]!r}, which is none of {', '.join(allowed)}.")
    if not plan.before_solutions and any(method.get("starts_with") == "probe" for method in plan.methods):
        raise ValueError(
            f"{path}: `starts_with: probe` needs `before_solutions: true`: other probes are of another pool."
        )
    names: list[str] = []
    for method in plan.methods:
        control = method.get("matched")
        if control is not None and (control["to"] not in names or control["by"] not in LENGTHS):
            raise ValueError(
                f"{path}: `matched` must have `to`, a method named before it, and `by`, one of {', '.join(LENGTHS)}, "
                f"got {control!r}."
            )
        try:
            _check(method)
        except ValueError as error:
            raise ValueError(f"{path}: method {method['name']!r}: {error}") from None
        names.append(method["name"])
    if len(set(names)) < len(names):
        raise ValueError(f"{path} has two methods of one name.")
    if odd := [budget for budget in plan.budgets if list(budget) not in (["rows"], ["tokens"])]:
        raise ValueError(f"{path}: a budget is {{rows: N}} or {{tokens: N}}, got {odd[0]!r}.")
    return plan


def _check(method: Mapping[str, Any]) -> None:
    for key, allowed in (("heads", HEADS), ("truth", LENGTHS), ("starts_with", STARTS)):
        if key in method and method[key] not in allowed:
            raise ValueError(f"`{key}` must be one of {', '.join(allowed)}, got {method[key]!r}.")
    if chooses(method) and "matched" not in method and "truth" not in method:
        check_method(method)
