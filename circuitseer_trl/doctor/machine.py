"""What is this machine? Versions, extras, processors and memory, for a table and for a bug report."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from packaging.requirements import Requirement

from circuitseer_trl.artifacts import LIBRARIES, library_versions

PACKAGE = LIBRARIES[0]


def extras() -> dict[str, dict[str, str | None]]:
    """The packages of each extra of this package, with their versions; None where one is not installed."""
    found: dict[str, dict[str, str | None]] = {}
    for line in metadata.requires(PACKAGE) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.name == PACKAGE:
            continue
        for extra in metadata.metadata(PACKAGE).get_all("Provides-Extra") or []:
            if extra not in ("all", "dev") and requirement.marker.evaluate({"extra": extra}):
                found.setdefault(extra, {})[requirement.name] = version_of(requirement.name)
    return found


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_disk_gb(path: str) -> float:
    """Free space where a folder is, or will be."""
    folder = Path(path).expanduser()
    while not folder.exists():
        folder = folder.parent
    return round(shutil.disk_usage(folder).free / 1e9, 1)


def gpus() -> list[dict[str, Any]]:
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        properties = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": properties.name,
                "capability": f"{properties.major}.{properties.minor}",
                "memory_gb": round(total / 1e9, 1),
                "free_gb": round(free / 1e9, 1),
            }
        )
    return found


def driver() -> str | None:
    """Version of the NVIDIA driver, where its kernel module tells it."""
    file = Path("/proc/driver/nvidia/version")
    if not file.is_file():
        return None
    words = file.read_text(encoding="utf-8").splitlines()[0].split()
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def describe_machine() -> dict[str, Any]:
    """The machine, without names of hosts, users and folders."""
    nccl = torch.cuda.nccl.version() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": library_versions(),
        "extras": extras(),
        "torch": {
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
            "driver": driver(),
            "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
            "nccl": ".".join(map(str, nccl)) if nccl is not None else None,
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        },
        "gpus": gpus(),
        "processor": processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "cache_free_gb": free_disk_gb(constants.HF_HUB_CACHE),
        "temporary_free_gb": free_disk_gb(os.environ.get("TMPDIR", "/tmp")),
        "compiler": shutil.which("g++") is not None,
        "ninja": shutil.which("ninja", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") is not None,
    }


def machine_lines(machine: dict[str, Any]) -> Iterator[str]:
    """The machine as lines for a terminal."""
    yield ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"Python {machine['python']}, {machine['system']}"
    build = machine["torch"]
    yield (
        f"{machine['processor']}: {machine['cores']} cores, torch uses {build['threads']} threads "
        f"({build['cpu_capability']}); {machine['memory_gb']} GB of memory, {machine['cache_free_gb']} GB free for "
        "downloaded models"
    )
    for index, gpu in enumerate(machine["gpus"]):
        yield (
            f"GPU {index}: {gpu['name']} (capability {gpu['capability']}), {gpu['free_gb']} of {gpu['memory_gb']} GB "
            f"free; CUDA {build['cuda'] or build['rocm']}, driver {build['driver']}, NCCL {build['nccl']}"
        )
    if not machine["gpus"]:
        yield f"No GPU that torch can use; its build is for {build['cuda'] or build['rocm'] or 'CPUs only'}"
    missing = {
        extra: [name for name, version in packages.items() if version is None]
        for extra, packages in machine["extras"].items()
    }
    yield (
        f"Extras: {', '.join(extra for extra, names in missing.items() if not names) or 'none'}; incomplete: "
        + (", ".join(f"{extra} (no {', '.join(names)})" for extra, names in missing.items() if names) or "none")
    )
