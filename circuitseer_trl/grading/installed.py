"""Is Math-Verify there, with the version of its parser that it needs? Comparisons may run in another Python that has both.

Some frameworks pin another version of the parser. Then CIRCUITSEER_GRADING_PYTHON names a Python that has both and this package.
"""

import os
import re
import sys
from importlib import metadata

_PYTHON = "CIRCUITSEER_GRADING_PYTHON"


def grading_python() -> str:
    """The Python that comparisons run in: this one, unless the environment names another."""
    return os.environ.get(_PYTHON) or sys.executable


def what_is_missing() -> str | None:
    """What this Python lacks for comparisons, and what to do; None if they can run."""
    try:
        pins = [
            re.match(r"(latex2sympy2_extended)==([\d.]+)$", each) for each in metadata.requires("math-verify") or []
        ]
    except metadata.PackageNotFoundError:
        return "Grading needs Math-Verify, which is not installed: pip install 'circuitseer-trl[eval]'"
    for pin in filter(None, pins):
        if (found := metadata.version(pin[1])) != pin[2]:
            return (
                f"Math-Verify needs {pin[0]}, but {found} is installed. If another package needs that one, let {_PYTHON} "
                "name a Python that has Math-Verify and this package (docs/frameworks.md)."
            )
    return None
