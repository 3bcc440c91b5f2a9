"""Benchmarks, generation, grading and reports: `python -m eval.run`. `circuitseer_trl` never imports it."""
