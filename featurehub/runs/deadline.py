"""When a run should be done, and how much of its time is left."""

import math
import time
from typing import NamedTuple, Self

from saes.budget import Budget

__all__ = ["UNBOUNDED", "Deadline"]


class Deadline(NamedTuple):
    """A bound on the time of a run.

    Attributes:
        began: When the run began, in seconds of ``time.monotonic``.
        seconds: How long it may take; infinite without a bound.
    """

    began: float
    seconds: float

    @classmethod
    def of(cls, budget: Budget) -> Self:
        """The deadline of a run that begins now."""
        return cls(time.monotonic(), budget.seconds or math.inf)

    @classmethod
    def at(cls, until: float) -> Self:
        """The deadline of a run that begins now and should be done then, in seconds of ``time.monotonic``."""
        now = time.monotonic()
        return cls(now, until - now)

    @property
    def until(self) -> float:
        """When the run should be done, in seconds of ``time.monotonic``."""
        return self.began + self.seconds

    @property
    def left(self) -> float:
        """Seconds until then, negative if that is over."""
        return self.until - time.monotonic()

    @property
    def is_bound(self) -> bool:
        """Whether there is a bound at all."""
        return self.seconds < math.inf


UNBOUNDED = Deadline(0.0, math.inf)
