"""Reports of requests, kept by key until they are fetched."""

from collections import OrderedDict
from collections.abc import Callable

from featurehub.report import Wire

__all__ = ["REPORTS_KEPT", "Reports", "Snapshot"]

REPORTS_KEPT = 4096

Snapshot = Callable[[], Wire]
"""Gives a report of what had been counted when it was made, as it is sent: no objects are made in the engine's loop."""


class Reports:
    """The snapshots of each key, which several requests may share (the prompts of a list, ``n`` > 1).

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

    def take(self, key: str) -> list[Wire]:
        """Takes a key's snapshots: one for each request, or several where it was preempted."""
        return [read() for read in self.kept.pop(key, ())]
