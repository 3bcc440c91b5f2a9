"""`python -m eval.grade` grades a JSONL file of responses: the same as `circuitseer grade`."""

from circuitseer_trl.scripts.grade import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
