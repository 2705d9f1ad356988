"""How a check says how far it is: each part of its work by name, with its length."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

__all__ = ["Work", "unheard"]

Work = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Announces work by name, length and unit (in the plural); what the ``with`` block gets is called with steps done."""


def unheard(name: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
    """Announces nothing."""
    return nullcontext(lambda steps: None)
