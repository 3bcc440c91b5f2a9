"""Benchmarks, generation, grading and reports. Run from a checkout with `python -m eval.run`; `circuitseer_trl` never imports it."""
