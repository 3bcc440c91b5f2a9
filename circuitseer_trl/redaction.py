"""Which text is a key, a token or a password? None of them reaches a file, a page, a tracker or a message."""

import os
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

HIDDEN = "***"
MIN_LENGTH = 8  # of a value of the environment that counts as a secret: `KEY=1` hides no ones
_SECRET_VARIABLE = re.compile(r"(?:TOKEN|API_?KEY|ACCESS_KEY|SECRET|PASSWORD)S?$")
_SECRET_PARAMETER = r"[\w.-]*(?:token|key|secret|password|passwd|signature|sig|credential)"
_USER_INFO = re.compile(r"(?<=://)[^/\s@?#]+@")
_QUERY = re.compile(rf"(?i)([?&]{_SECRET_PARAMETER}=)[^&\s'\"#]+")
# Not `eos_token`.
_SECRET_FLAG = re.compile(r"--(?:\w+\.)?(?:token|[\w-]*(?:hub|hf|access|auth)_token|[\w-]*(?:api_key|password|secret))")


def _secret_values() -> list[str]:
    """The secrets of the environment, the longest first: one may be part of another."""
    values = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name.upper())}
    return sorted((value for value in values if len(value) >= MIN_LENGTH), key=len, reverse=True)


def redact(text: str) -> str:
    """The text with `***` in place of the environment's keys, and of passwords and keys in addresses."""
    for value in _secret_values():
        text = text.replace(value, HIDDEN)
    if "://" in text:
        text = _QUERY.sub(rf"\g<1>{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))
    return text


def redact_command(words: Sequence[str]) -> list[str]:
    """The words of a command line, without the keys in them."""
    kept: list[str] = []
    for word in words:
        flag, given, _ = word.partition("=")
        if kept and _SECRET_FLAG.fullmatch(kept[-1]):
            word = HIDDEN
        elif given and _SECRET_FLAG.fullmatch(flag):
            word = f"{flag}={HIDDEN}"
        kept.append(redact(word))
    return kept


def check_address(name: str, address: str, advice: str) -> None:
    """Raises if an address holds a password or a key, which would go into files and pages. The message leaves it out.

    Args:
        name: The key of the recipe.
        advice: Where the password or key belongs.
    """
    if "://" not in address:
        return
    parts = urlsplit(address)
    secret = [key for key, value in parse_qsl(parts.query) if re.fullmatch(f"(?i){_SECRET_PARAMETER}", key) and value]
    if "@" in parts.netloc or secret:
        held = f"`{secret[0]}` in its query" if secret else "a user or password before the host"
        raise ValueError(f"`{name}` is an address with {held}, which would be written to files and pages. {advice}")
