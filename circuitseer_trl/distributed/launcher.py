"""`accelerate launch` for the steps of a run: it ends without a traceback, since the ranks have said what is wrong.

    python -m circuitseer_trl.distributed.launcher --num_processes 2 -m MODULE ...

It ends with the status of the rank that failed first, or by the signal that ended it.
"""

import logging
import os
import signal
import subprocess
import sys

import torch.distributed.run  # noqa: F401  # sets the levels of the loggers
from accelerate.commands.launch import main
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from circuitseer_trl.terminal import visible_streams


def launch() -> int:
    for name in logging.root.manager.loggerDict:  # torch warns of each rank that it ends
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        main()
    except SignalException as end:
        signal.signal(end.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), end.sigval)
    except ChildFailedError as failure:
        return abs(failure.get_first_failure()[1].exitcode)
    except subprocess.CalledProcessError as failure:  # a launch of one process
        return abs(failure.returncode)
    return 0


if __name__ == "__main__":
    with visible_streams():
        sys.exit(launch())
