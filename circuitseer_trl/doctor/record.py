"""What of a diagnosis may be attached to a bug report? No folders, names of users and hosts, or keys."""

import getpass
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from circuitseer_trl.artifacts import format_record
from circuitseer_trl.doctor.outcome import Outcome

_FOLDERS = re.compile(r"(?<![\w.:/~])~?/(?:[^/\s'\"]+/)+")
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
_TOKEN = re.compile(r"\b(?:hf_|sk-)[\w-]{8,}")
_SHORTEST_NAME = 3


def _own_names() -> list[str]:
    names = [socket.gethostname()]
    with suppress(KeyError, OSError):  # a user without a name, as in containers
        names.append(getpass.getuser())
    return [name for name in names if len(name) >= _SHORTEST_NAME and name not in ("root", "localhost")]


def scrub(text: str) -> str:
    """The text with the folders of paths, this user and host, and the keys of the environment left out."""
    secrets = [value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper()) and len(value) >= 8]
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, "***")
    text = _FOLDERS.sub(".../", _TOKEN.sub("***", text))
    for name in _own_names():
        text = re.sub(rf"\b{re.escape(name)}\b", "***", text)
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
