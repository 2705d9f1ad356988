"""What featurehub's part of the engine's steps costs, measured while it serves.

1. Our seconds are those inside ``with METER.host`` (the adapters' work on a step and on the requests that come and go,
   and the fetching of reports) and inside ``with METER.op`` (the body of the op in the model's layers).
2. A step's seconds reach from where it begins to where the next one begins. They count, and ours in between with them,
   only if the next step *continues*: if it runs a request that was there before. The engine was then busy all along.
   Otherwise it may have waited for somebody to come, and neither counts.
3. The sums only grow. A share is the difference of two readings of ours, over that of the steps: whoever reads chooses
   the time that it is taken over.

All are seconds of the host. On a CPU the op's are the work itself. On a GPU they are the launches of the kernels, and
nothing at all in captured graphs, which replay without the host: the kernels' own time is not in these sums.
"""

from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

__all__ = ["METER", "Meter", "Seconds", "Stopwatch"]

Clock = Callable[[], float]


class Stopwatch:
    """Adds up the seconds that pass in ``with`` blocks, which do not nest.

    Attributes:
        clock: Tells the time in seconds.
        seconds: Their sum.
    """

    __slots__ = ("clock", "seconds", "started")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seconds = self.started = 0.0

    def __enter__(self) -> None:
        self.started = self.clock()

    def __exit__(self, *_: object) -> None:
        self.seconds += self.clock() - self.started


class Seconds(NamedTuple):
    """Sums over all steps that counted, in seconds.

    Attributes:
        steps: The steps, from begin to begin.
        host: Our adapters' part of them.
        op: Our op's part of them.
    """

    steps: float
    host: float
    op: float


class Meter:
    """Measures as the module describes.

    Args:
        clock: Tells the time in seconds.

    Attributes:
        host: Runs while the adapters work.
        op: Runs while the op does.
    """

    def __init__(self, clock: Clock = perf_counter) -> None:
        self.clock = clock
        self.host, self.op = Stopwatch(clock), Stopwatch(clock)
        self.began = clock()
        self.steps = self.of_host = self.of_op = 0.0

    def begin_step(self, continues: bool) -> None:
        """A step begins. ``continues`` says whether it runs a request that was there before."""
        now = self.clock()
        if continues:
            self.steps += now - self.began
            self.of_host += self.host.seconds
            self.of_op += self.op.seconds
        self.began = now
        self.host.seconds = self.op.seconds = 0.0

    @property
    def counted(self) -> Seconds:
        """The sums."""
        return Seconds(self.steps, self.of_host, self.of_op)


METER = Meter()
"""The meter of this process's model."""
