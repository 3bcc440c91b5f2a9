"""Is a record as it was written? A checksum of its content is stored with it."""

from typing import Any

from circuitseer_trl.artifacts import fingerprint

KEY = "check"


def with_checksum(record: dict[str, Any]) -> dict[str, Any]:
    """Adds the checksum of a record. A number that JSON writes and reads again has the same one."""
    return record | {KEY: fingerprint(record)}


def verify_checksum(place: str, record: dict[str, Any]) -> None:
    """Raises if a record is not as it was written. Records without a checksum are of version 0.1.0 or of others.

    Args:
        place: The file, or the line of a file, for the message.
    """
    if KEY in record and fingerprint({name: value for name, value in record.items() if name != KEY}) != record[KEY]:
        raise ValueError(f"{place} is not as it was written: its content does not fit its checksum `{KEY}`.")
