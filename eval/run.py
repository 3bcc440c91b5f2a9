"""`python -m eval.run` measures a model on benchmarks: the same as `circuitseer evaluate`."""

from circuitseer_trl.scripts.evaluate import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
