"""Which steps does a study have? The steps of its points, and those that points share: heads, and scores of the pool."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.digests import FINISHED_FILE
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.finished_evaluation import evaluation_step
from circuitseer_trl.finished import FinishedStep, selection_step
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.finished_training import training_step

Kind = Literal["find-heads", "score-pool", "select-data", "train-sft", "evaluate"]
# The name of a step in `steps.json` of a point.
STEP_NAMES: Mapping[Kind, str] = {"select-data": "select", "train-sft": "train", "evaluate": "evaluate"}


@dataclass(frozen=True)
class Task:
    """One step, as JSON can hold it.

    Attributes:
        name: The folder below the study's, and the step.
        kind: The command that does it.
        folder: The folder that it writes to, for a point that of the point.
        arguments: Words of the command.
        needs: Names of the tasks that come first.
        links: Folders, and the names in them, that are in the step's `output_dir` before it runs: what other tasks computed.
        output_dir: The step's own.
        launch: Whether it is started with `accelerate launch` where that is asked for.
    """

    name: str
    kind: Kind
    folder: str
    output_dir: str
    arguments: list[str]
    needs: list[str]
    links: list[tuple[str, list[str]]]
    launch: bool = True

    @property
    def module(self) -> str:
        return f"circuitseer_trl.scripts.{self.kind.replace('-', '_')}"

    def finished(self, num_processes: int) -> FinishedStep:
        """What the step depends on, as of now."""
        if self.kind == "train-sft":
            return training_step(self.arguments, num_processes)
        if self.kind == "evaluate":
            return evaluation_step(
                parse_recipe(EvaluationConfig, args=self.arguments, prog="evaluate", kinds=("eval",))
            )
        keys = parse_recipe(PoolConfig, SelectionConfig, args=self.arguments, prog=self.kind, kinds=SELECTION_KINDS)
        return selection_step(self.kind, *keys)

    def is_finished(self, num_processes: int) -> bool:
        if not (Path(self.output_dir) / FINISHED_FILE).is_file():
            return False
        finished = self.finished(num_processes)
        return finished.text(finished.made_from(), trust_hub=True) is not None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def main(self) -> Callable[[list[str]], int | None]:
        """The function of the command. Importing it loads what the step needs first."""
        return importlib.import_module(self.module).main
