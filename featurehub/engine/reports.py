"""Reports of requests, kept by key until they are fetched."""

from collections import OrderedDict
from collections.abc import Callable
from functools import reduce
from operator import add

from featurehub.report import SteerReport

__all__ = ["REPORTS_KEPT", "Reports"]

REPORTS_KEPT = 4096

Snapshot = Callable[[], SteerReport]
"""Gives a report of what had been counted when it was made."""


class Reports:
    """The snapshots of each key; those of requests that share one (``n`` > 1) add up.

    Beyond ``REPORTS_KEPT`` keys, the oldest is dropped.
    """

    def __init__(self) -> None:
        self.kept: OrderedDict[str, list[Snapshot]] = OrderedDict()

    def keep(self, key: str, snapshot: Snapshot) -> None:
        """Keeps a snapshot; none under the empty key."""
        if not key:
            return
        self.kept.setdefault(key, []).append(snapshot)
        while len(self.kept) > REPORTS_KEPT:
            self.kept.popitem(last=False)

    def take(self, key: str) -> SteerReport | None:
        """Takes the sum of a key's snapshots; None if there are none."""
        snapshots = self.kept.pop(key, None)
        return reduce(add, (read() for read in snapshots)) if snapshots is not None else None
