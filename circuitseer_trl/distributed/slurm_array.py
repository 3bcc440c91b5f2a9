"""The tasks of a Slurm array share a folder of shards: each computes its own numbers, and none waits for another."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from circuitseer_trl.command_line import PartDone
from circuitseer_trl.distributed.executors import Ranks, ShardWork
from circuitseer_trl.distributed.processes import on_main_rank


@dataclass(frozen=True)
class SlurmArray:
    """One task of an array.

    Attributes:
        task: Its number, from 0.
        num_tasks: Number of tasks of the array.
    """

    shares_folder: ClassVar[bool] = True

    task: int
    num_tasks: int

    @classmethod
    def of_this_job(cls, environment: Mapping[str, str] | None = None) -> "SlurmArray":
        """The task that Slurm has started this process for.

        Raises:
            ValueError: It has not, or the numbers of the array have gaps.
        """
        environment = os.environ if environment is None else environment
        try:
            number, first, last, count = (
                int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "MAX", "COUNT")
            )
        except KeyError as error:
            raise ValueError(
                f"`executor: slurm` is for a task of a Slurm array, but {error.args[0]} is not set. Submit the command with "
                "`sbatch --array=0-15`."
            ) from None
        if last - first + 1 != count:
            raise ValueError(
                f"`executor: slurm` needs an array without gaps, got {count} tasks from {first} to {last}. Submit a range, such "
                "as `sbatch --array=0-15`; tasks whose shards are there end at once."
            )
        return cls(number - first, count)

    def run(self, work: ShardWork) -> None:
        """Computes this task's shards of a folder, by the ranks of its launch.

        Raises:
            PartDone: Shards of other tasks are missing.
        """
        mine = [shard for shard in work.todo if shard % self.num_tasks == self.task]
        Ranks().run(replace(work, todo=mine))
        left = on_main_rank(lambda: sum(not work.folder.has(shard) for shard in work.todo))
        if left:
            raise PartDone(
                f"{work.description}: task {self.task + 1} of {self.num_tasks} made {len(mine)} shards. {left} of "
                f"{work.folder.num_shards} in {work.folder.folder} are left to other tasks. When these have ended, submit "
                "the same array again, or run the command without `executor` to finish."
            )
