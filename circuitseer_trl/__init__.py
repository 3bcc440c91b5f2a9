"""Pick the reasoning data that matters by how a model's reasoning heads attend to it (CircuitSeer, arXiv 2510.18470)."""

from typing import Any

__all__ = ["CircuitSeerDataSelector"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: the steps that need no trainer should not wait for one to load.
    if name == "CircuitSeerDataSelector":
        from circuitseer_trl.selection.plugin import CircuitSeerDataSelector

        return CircuitSeerDataSelector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
