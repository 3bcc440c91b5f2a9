"""Weights & Biases: one run a step, and one group for the steps of a comparison."""

import os

from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.extras import require_extra

PROJECT = "circuitseer"


def check_tracker(report_to: str) -> None:
    """Raises where W&B is asked for and not installed."""
    if report_to == "wandb":
        require_extra("wandb", "`report_to: wandb`", "wandb", "PIL")


def start_run(
    job_type: str,
    *,
    project: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    name: str | None = None,
) -> None:
    """Starts a run on the main process, where there is none yet; what is logged later goes to it.

    What is not given is W&B's to say: by WANDB_PROJECT (else circuitseer), WANDB_ENTITY, WANDB_RUN_GROUP and WANDB_NAME.

    Args:
        job_type: select, train or evaluate.
        group: Name that ties together the runs of one comparison.
    """
    if not process_state().is_main_process:
        return
    import wandb  # of the extra `wandb`

    if wandb.run is None:
        project = project or os.environ.get("WANDB_PROJECT", PROJECT)
        wandb.init(project=project, entity=entity, group=group, job_type=job_type, name=name)
