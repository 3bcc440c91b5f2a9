"""Is a line of a JSONL file as it was written? It has a checksum of its content."""

from typing import Any

from circuitseer_trl.artifacts import fingerprint

KEY = "check"


def with_checksum(record: dict[str, Any]) -> dict[str, Any]:
    """Adds the checksum of a line's record."""
    return record | {KEY: fingerprint(record)}


def verify_checksum(place: str, record: dict[str, Any]) -> None:
    """Raises if a record is not as it was written. Lines without a checksum are of version 0.1.0 or of others.

    Args:
        place: File and line, for the message.
    """
    if KEY in record and fingerprint({name: value for name, value in record.items() if name != KEY}) != record[KEY]:
        raise ValueError(f"{place} is not as it was written: its content does not fit its checksum `{KEY}`.")
