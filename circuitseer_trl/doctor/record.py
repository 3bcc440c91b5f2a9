"""What of a diagnosis may be attached to a bug report? No folders, names of users and hosts, or keys."""

import getpass
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from circuitseer_trl.artifacts import format_record
from circuitseer_trl.doctor.outcome import Outcome
from circuitseer_trl.redaction import HIDDEN, redact

_FOLDERS = re.compile(r"(?<![\w.:/~])~?/(?:[^/\s'\"]+/)+")
_TOKEN = re.compile(r"\b(?:hf_|sk-)[\w-]{8,}")
_SHORTEST_NAME = 3


def _own_names() -> list[str]:
    names = [socket.gethostname()]
    with suppress(KeyError, OSError):  # a user without a name, as in containers
        names.append(getpass.getuser())
    return [name for name in names if len(name) >= _SHORTEST_NAME and name not in ("root", "localhost")]


def scrub(text: str) -> str:
    """The text with the folders of paths, this user and host, and the keys of the environment left out."""
    text = _FOLDERS.sub(".../", _TOKEN.sub(HIDDEN, redact(text)))
    for name in _own_names():
        text = re.sub(rf"\b{re.escape(name)}\b", HIDDEN, text)
    return text


def scrubbed(outcome: Outcome) -> Outcome:
    return replace(outcome, detail=scrub(outcome.detail))


def report_record(
    machine: dict[str, Any], model: str, quick: bool, outcomes: Sequence[Outcome], seconds: float
) -> dict[str, Any]:
    """The content of the JSON file."""
    return {
        **format_record(),
        "model": scrub(model),
        "quick": quick,
        "machine": machine,
        "checks": [asdict(outcome) | {"seconds": round(outcome.seconds, 2)} for outcome in outcomes],
        "seconds": round(seconds, 1),
    }
