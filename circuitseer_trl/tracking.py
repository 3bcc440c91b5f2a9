"""How are runs logged to Weights & Biases? One run for each step, and one group for the steps of a comparison."""

import os

from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.extras import require_extra

PROJECT = "circuitseer"


def check_tracker(report_to: str) -> None:
    """Raises if `report_to` is W&B and it is not installed."""
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
    """Starts a run on the main process, unless there is one already. Later logs go to this run.

    W&B reads values that are None from WANDB_PROJECT (else circuitseer), WANDB_ENTITY, WANDB_RUN_GROUP and WANDB_NAME.

    Args:
        job_type: `select`, `train` or `evaluate`.
        project: Name of the project.
        entity: Name of the team or user.
        group: Name that the runs of one comparison share.
        name: Name of the run.
    """
    if not process_state().is_main_process:
        return
    import wandb  # from the extra `wandb`

    if wandb.run is None:
        project = project or os.environ.get("WANDB_PROJECT", PROJECT)
        wandb.init(project=project, entity=entity, group=group, job_type=job_type, name=name)
