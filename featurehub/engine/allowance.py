"""What may be taken of the engine's time beside its work, in seconds.

A share of each second that passes is added, what is taken is taken off, and while nothing is left nothing may be taken.
What was taken too much is owed. So over any time T it is at most that share of T + ``SAVED``, and what was begun last.
"""

from collections.abc import Callable
from time import perf_counter

__all__ = ["SAVED", "SamplingAllowance"]

SAVED = 10.0
"""How many seconds' share can be saved up."""

Clock = Callable[[], float]


class SamplingAllowance:
    """Seconds that may be taken.

    Args:
        clock: Tells the time in seconds.

    Attributes:
        left: What may be taken now; below 0 what is owed.
        taken: Their sum so far.
    """

    def __init__(self, clock: Clock = perf_counter) -> None:
        self.clock = clock
        self.began = self.filled = clock()
        self.left = self.taken = 0.0

    def fill(self, share: float) -> None:
        """Adds this share of the time that has passed since the last time."""
        now = self.clock()
        self.left, self.filled = min(self.left + share * (now - self.filled), share * SAVED), now

    def take(self, seconds: float) -> None:
        """Takes seconds off."""
        self.left -= seconds
        self.taken += seconds

    def __enter__(self) -> None:
        self.began = self.clock()

    def __exit__(self, *_: object) -> None:
        self.take(self.clock() - self.began)
