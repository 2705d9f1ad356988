"""The overhead budget: which new requests the door refuses while steering takes more of each step than it may.

1. About once a second the engine tells what our part of its steps has cost so far (``api.overhead`` asks it). The share
   is the part of the steps' seconds that was ours, over the last ``WINDOW`` readings. Where the steps took less than
   ``LEAST`` seconds in all, the engine has time to spare and the share is 0: so nobody is refused for ever because
   everybody was refused.
2. Over the budget, new requests that read activations are refused. Still over while nobody reads any more, those with
   conditions are, too. Other edits never are, and a request that runs is never touched.
3. Below ``REOPEN`` of the budget the door opens again, one step at a time. Between two steps lies a whole window, so
   that each is judged by what was measured after the last.
"""

import logging
from collections import deque
from enum import IntEnum
from typing import NamedTuple

from api.engine import Overhead
from api.request import SteeringRequest
from featurehub.errors import InvalidInput, OverheadExceeded

__all__ = ["LEAST", "REOPEN", "WINDOW", "Door", "Refused", "Shares", "parse_budget", "percent"]

WINDOW = 5
LEAST = 0.5
REOPEN = 0.8

logger = logging.getLogger("vllm.featurehub")


class Refused(IntEnum):
    """What the door refuses; each step includes those before it."""

    NOTHING = 0
    READS = 1
    CONDITIONS = 2

    @property
    def words(self) -> str:
        """What is refused, in words."""
        return ("nothing", "new requests that read activations", "new requests that read or have conditions")[self]


class Shares(NamedTuple):
    """What our part takes of a step, in [0, 1].

    Attributes:
        host: The adapters' work.
        op: The op's body in the model's layers.
    """

    host: float
    op: float


class Door:
    """Lets new requests in, or refuses them for now.

    Args:
        budget: The share of each step, above 0 and below 1, that our part may take; None refuses nothing.

    Attributes:
        seen: The last readings.
        since: How many of them came after the last change of what is refused.
        refused: What is refused now.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.seen: deque[Overhead] = deque(maxlen=WINDOW + 1)
        self.since = -1
        self.refused = Refused.NOTHING

    @property
    def shares(self) -> Shares:
        """What our part took of the steps between the oldest reading and the last."""
        first, last = (self.seen[0], self.seen[-1]) if self.seen else (Overhead(), Overhead())
        steps = last.steps - first.steps
        if steps < LEAST:
            return Shares(0.0, 0.0)
        return Shares((last.host - first.host) / steps, (last.op - first.op) / steps)

    def see(self, overhead: Overhead) -> None:
        """Takes the next reading, and closes or opens the door by a step where it is time to."""
        self.seen.append(overhead)
        self.since += 1
        if self.budget is None or self.since < WINDOW:
            return
        following = self.following(sum(self.shares), self.budget)
        if following is not self.refused:
            level = logging.WARNING if following > self.refused else logging.INFO
            self.refused, self.since = following, 0
            logger.log(level, "%s; refused from now on: %s", self.measured(self.budget), following.words)

    def following(self, share: float, budget: float) -> Refused:
        """What is to be refused after a window with this share."""
        if share < REOPEN * budget:
            return Refused(max(self.refused - 1, Refused.NOTHING))
        if share <= budget:
            return self.refused
        if self.refused is Refused.NOTHING:
            return Refused.READS
        return self.refused if any(each.reading for each in self.seen) else Refused.CONDITIONS

    def measured(self, budget: float) -> str:
        return f"steering takes {percent(sum(self.shares))} of each step, of a budget of {percent(budget)}"

    def check(self, asked: SteeringRequest) -> None:
        """Refuses a new request that asks for what there is no time for. Raises OverheadExceeded."""
        if self.refused >= Refused.READS and asked.reads:
            raise self.refusal("read activations", "return_activations")
        if self.refused >= Refused.CONDITIONS and (key := next((key for key, _ in asked.conditions), "")):
            raise self.refusal("have conditions", key)

    def refusal(self, doing: str, param: str) -> OverheadExceeded:
        return OverheadExceeded(
            f"this server went over its budget for steering ({self.measured(self.budget or 0.0)}), so new requests "
            f"that {doing} are refused for a while. Send it without {param!r}, or try again later.",
            param=param,
        )


def percent(share: float) -> str:
    """A share in percent, to three digits."""
    return f"{100 * share:.3g} %"


def parse_budget(text: str, param: str = "overhead_budget", what: str = "an overhead budget") -> float:
    """The share that ``3%`` or ``0.03`` stands for.

    Args:
        text: What was given.
        param: The option that it was given to.
        what: What to call it.

    Raises:
        InvalidInput: It is no share above 0 and below 100 %.
    """
    number, sign, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if sign else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1 or rest:
        raise InvalidInput(
            f"{what} of {text!r}: give a share of each step above 0 and below 100 %, such as 3% or 0.03",
            param=param,
        )
    return share
