"""Which SAEs the requests that run use."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

__all__ = ["Users"]

EVERY = 0.05
"""Seconds between two looks."""


class Users:
    """How many of the requests that run use each SAE. Used in the event loop alone.

    Attributes:
        counts: The numbers, by the SAEs' ids.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def come(self, saes: Iterable[str]) -> None:
        """Counts a request that uses these SAEs."""
        self.counts.update(dict.fromkeys(saes, 1))

    def go(self, saes: Iterable[str]) -> None:
        """Takes such a request back, once its answer has ended."""
        self.counts.subtract(dict.fromkeys(saes, 1))

    @contextmanager
    def using(self, saes: Collection[str]) -> Iterator[None]:
        """Counts a request that uses these SAEs while the ``with`` block runs."""
        self.come(saes)
        try:
            yield
        finally:
            self.go(saes)

    async def ended(self, saes: Collection[str], within: float) -> bool:
        """Waits for all requests that use one of these SAEs.

        Args:
            saes: The SAEs.
            within: The longest to wait, in seconds.

        Returns:
            Whether they have all ended.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while any(self.counts[sae] > 0 for sae in saes):
            if loop.time() > until:
                return False
            await asyncio.sleep(EVERY)
        return True
