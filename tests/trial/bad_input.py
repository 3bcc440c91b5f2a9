"""What is a case of bad input? A name, the command that gets it, and what the one line of the refusal must say."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.trial.tiny_run import Place

Words = Callable[[Place], list[object]]


@dataclass(frozen=True)
class BadInput:
    """Attributes:
    words: Writes the bad input into the place's folder, and gives the words of the command that reads it.
    """

    name: str
    words: Words
    says: str
