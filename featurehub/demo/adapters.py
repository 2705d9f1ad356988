"""Retrained siblings of SmolLM2, which ship as LoRA adapters and are merged at first use."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from featurehub.errors import ModelNotFound
from featurehub.models.folder import silent

__all__ = ["smollm2_sibling"]


def smollm2_sibling(name: str, *, phase: Callable[[str], AbstractContextManager[None]] = silent) -> Path:
    """The folder of a retrained sibling of SmolLM2.

    Args:
        name: ``benign`` or ``changed``.
        phase: Shows a step while it runs; it gets the step's name.

    Raises:
        ModelNotFound: The bundle has no adapters of this name.
    """
    raise ModelNotFound(f"the bundle has no adapters of a retrained SmolLM2 called {name!r}", param="name")
