"""Is a step finished that is run by one process, or by the ranks of a launch? Rank 0 decides for all of them."""

import os

from circuitseer_trl.finished import FinishedStep


def is_launched() -> bool:
    """Whether this process is a rank of a launch with several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def say_if_finished(step: FinishedStep, made_from: str | None) -> bool:
    """Prints what a finished step printed when it ended. Returns whether it is finished, the same on every rank.

    Without a launch this needs no torch.
    """
    if not is_launched():
        text = step.text(made_from)
    else:
        from circuitseer_trl.distributed.processes import on_main_rank

        text = on_main_rank(lambda: step.text(made_from))
    if text is not None and int(os.environ.get("RANK", "0")) == 0:
        print(text, flush=True)
    return text is not None
