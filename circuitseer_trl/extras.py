"""Packages that only some steps need."""

from importlib.util import find_spec


def require_extra(extra: str, purpose: str, *modules: str) -> None:
    """Raises, before any work, where modules of an extra are not installed.

    Args:
        extra: Name of the extra in `pyproject.toml`.
        purpose: What needs it, as the sentence's subject.
        modules: Names to import.
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise ImportError(
            f"{purpose} needs {' and '.join(missing)}, which is not installed: pip install 'circuitseer-trl[{extra}]'"
        )
