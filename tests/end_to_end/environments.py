"""Clients of other projects, each in an environment of its own: made once, and kept beside this environment's packages.

What they ask for would not always agree with what vLLM asks for. Tests skip where a registry cannot be reached.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CLIENTS = Path(sys.prefix) / "clients"
READY = "ready"
UV = (sys.executable, "-m", "uv")


def python_with(packages: Sequence[str], alone: Sequence[str] = ()) -> Path:
    """The Python of an environment that has these packages.

    Args:
        packages: Requirements, as pip reads them.
        alone: Further ones, which are installed without what they ask for.
    """
    folder = folder_of([*packages, *alone])
    program = folder / "bin" / "python"
    if not (folder / READY).exists():
        made("the package index", *UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        install = (*UV, "pip", "install", "--quiet", "--python", program)
        made("the package index", *install, *packages)
        if alone:
            made("the package index", *install, "--no-deps", *alone)
        (folder / READY).touch()
    return program


def node_with(packages: Sequence[str]) -> Path:
    """A folder in which Node finds these packages of npm."""
    if (npm := shutil.which("npm")) is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: clients for it are not tested here")
    folder = folder_of(packages)
    if not (folder / READY).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made("npm's registry", npm, "install", "--no-audit", "--no-fund", "--prefix", folder, *packages)
        (folder / READY).touch()
    return folder


def folder_of(packages: Sequence[str]) -> Path:
    """Other packages, other folder."""
    return CLIENTS / hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16]


def made(registry: str, *command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{registry} cannot be reached: {done.stderr[-300:]}")
