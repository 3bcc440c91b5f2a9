"""Locks a folder, says so, and waits for its input to end. `fork`: a child outlives it; `shared`: others may share the lock."""

import os
import sys
import time

from circuitseer_trl.locks import writing_to

if __name__ == "__main__":
    folder, *words = sys.argv[1:]
    with writing_to(folder, shared=words == ["shared"]):
        if words == ["fork"] and os.fork() == 0:
            os.close(1)
            time.sleep(600)
        print(os.getpid(), flush=True)
        sys.stdin.read()
