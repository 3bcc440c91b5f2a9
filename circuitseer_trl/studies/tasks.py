"""Which steps do runs have? The steps of points, their pages, and those that points share: heads, and scores of the pool."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from circuitseer_trl.configs import ExecutorConfig, PoolConfig, SelectionConfig
from circuitseer_trl.digests import FINISHED_FILE
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.finished_evaluation import evaluation_step
from circuitseer_trl.finished import FinishedStep, selection_step
from circuitseer_trl.named_files import SELECTION_KINDS
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.step_cards import CARDS
from circuitseer_trl.training.finished_training import training_step

Kind = Literal["find-heads", "score-pool", "select-data", "train-sft", "evaluate", "report"]
# The name of a step in `steps.json` of a point.
STEP_NAMES: Mapping[Kind, str] = {
    **{"select-data": "select", "train-sft": "train", "evaluate": "evaluate", "report": "report"}
}
PAGE = "report.html"


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
        if self.kind == "report":
            folder = Path(self.output_dir)
            drawn = [folder / "results.json", folder / "verdicts", *(folder / "selection" / name for name in CARDS)]
            return FinishedStep("report", self.output_dir, {}, [str(path) for path in drawn if path.exists()])
        kinds = (PoolConfig, SelectionConfig, ExecutorConfig)
        pool, selection, _ = parse_recipe(*kinds, args=self.arguments, prog=self.kind, kinds=SELECTION_KINDS)
        return selection_step(self.kind, pool, selection)

    def is_finished(self, num_processes: int) -> bool:
        if not (Path(self.output_dir) / FINISHED_FILE).is_file():
            return False
        finished = self.finished(num_processes)
        return finished.text(finished.made_from(), trust_hub=True) is not None

    def record(self) -> None:
        """Records that a page is drawn, from what the steps before it wrote. The other steps record their end themselves."""
        if self.kind == "report":
            finished = self.finished(1)
            finished.record(finished.made_from(), "The page is drawn.", [PAGE])

    def command(self, accelerate_config: Path | None, num_processes: int | None) -> list[str]:
        """The words that start it, with `accelerate launch` where that is asked for."""
        if not self.launch or (accelerate_config is None and num_processes is None):
            return [sys.executable, "-m", self.module, *self.arguments]
        launch = [sys.executable, "-m", "circuitseer_trl.distributed.launcher"]
        launch += ["--config_file", str(accelerate_config)] if accelerate_config is not None else []
        launch += ["--num_processes", str(num_processes)] if num_processes is not None else []
        return [*launch, "-m", self.module, *self.arguments]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def main(self) -> Callable[[list[str]], int | None]:
        """The function of the command. Importing it loads what the step needs first."""
        return importlib.import_module(self.module).main
