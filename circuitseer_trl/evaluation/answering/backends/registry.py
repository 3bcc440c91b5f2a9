"""Which backends are there? Names and classes; importing this imports none of them."""

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circuitseer_trl.evaluation.answering.backends.base import Backend

_HERE = "circuitseer_trl.evaluation.answering.backends"
BACKENDS = {
    "transformers": f"{_HERE}.embedded:TransformersBackend",
    "vllm": f"{_HERE}.vllm_engine:VllmBackend",
    "openai": f"{_HERE}.openai_server:OpenAIBackend",
    "replay": f"{_HERE}.replay:ReplayBackend",
}


def backend_class(name: str) -> "type[Backend]":
    """The class of a backend; its module imports what is heavy when it is opened."""
    if name not in BACKENDS:
        raise ValueError(f"`backend` must be one of {', '.join(BACKENDS)}, got {name!r}.")
    module, _, attribute = BACKENDS[name].partition(":")
    found: type[Backend] = getattr(import_module(module), attribute)
    return found


def backend_keys(name: str) -> list[str]:
    """The keys of an evaluation that mean something to a backend: its fields."""
    return [each.name for each in fields(backend_class(name))]
