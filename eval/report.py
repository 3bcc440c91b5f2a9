"""`python -m eval.report` compares evaluations, as tables and as a page: the same as `circuitseer report`."""

from circuitseer_trl.scripts.report import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
