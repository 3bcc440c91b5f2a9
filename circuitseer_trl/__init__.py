"""Pick the reasoning data that matters by how a model's reasoning heads attend to it (CircuitSeer, arXiv 2510.18470)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitseer_trl.circuits.heads import HeadSet
    from circuitseer_trl.configs import PoolConfig, SelectionConfig
    from circuitseer_trl.evaluation.benchmarks import load_benchmark
    from circuitseer_trl.sampling.base import Sampler, Selection
    from circuitseer_trl.scoring.base import Scorer
    from circuitseer_trl.selection.methods import METHODS
    from circuitseer_trl.selection.plugin import CircuitSeerDataSelector

    __version__: str

__all__ = [
    "METHODS",
    "CircuitSeerDataSelector",
    "HeadSet",
    "PoolConfig",
    "Sampler",
    "Scorer",
    "Selection",
    "SelectionConfig",
    "__version__",
    "load_benchmark",
]

_MODULES = {
    "METHODS": "selection.methods",
    "CircuitSeerDataSelector": "selection.plugin",
    "HeadSet": "circuits.heads",
    "PoolConfig": "configs",
    "Sampler": "sampling.base",
    "Scorer": "scoring.base",
    "Selection": "sampling.base",
    "SelectionConfig": "configs",
    "load_benchmark": "evaluation.benchmarks",
}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use (PEP 562), so that `circuitseer --help` does not import torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("circuitseer-trl")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
