"""What a worker tells about one request when its answer is done."""

from typing import Any, TypeVar

from pydantic import Field

from featurehub.activations import PackedActivations
from featurehub.conditions import Positions
from featurehub.edits import Steering
from featurehub.settings import Frozen

__all__ = ["Aborted", "HookCounts", "SteerReport", "TokenCounts"]


class Aborted(Frozen):
    """What ended a generation.

    event:    its name, which several aborts may share
    index:    which of the request's aborts it was
    position: of the token that caused it
    """

    event: str
    index: int
    position: int


class Counts(Frozen):
    """Tokens of one request at which something had to be done.

    seen_tokens:     at which it was
    expected_tokens: at which it should have been; anything else means that steering was lost
    """

    seen_tokens: int = 0
    expected_tokens: int = 0

    @property
    def complete(self) -> bool:
        return self.seen_tokens == self.expected_tokens


class TokenCounts(Counts):
    """Counts of decisions."""

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(
            seen_tokens=self.seen_tokens + other.seen_tokens,
            expected_tokens=self.expected_tokens + other.expected_tokens,
        )


class HookCounts(Counts):
    """Counts of one request at one hook point.

    seen_tokens:     that the op ran over, counted by the op itself inside the forward pass
    expected_tokens: that it should have run over, by the step tables; anything else means that steering was lost
    steered_tokens:  with at least one edit in force, each counted once although a preempted request computes some again
    dose_sum, dose_max: ‖x' − x‖ / ‖x‖ over the steered tokens
    clipped:         tokens whose Δ the dose guard scaled down
    in_force:        by the edit's index in the request, for edits with a condition: steered tokens at which it held
    """

    steered_tokens: int = 0
    dose_sum: float = 0.0
    dose_max: float = 0.0
    clipped: int = 0
    in_force: dict[int, int] = Field(default_factory=dict)

    def __add__(self, other: "HookCounts") -> "HookCounts":
        return HookCounts(
            seen_tokens=self.seen_tokens + other.seen_tokens,
            expected_tokens=self.expected_tokens + other.expected_tokens,
            steered_tokens=self.steered_tokens + other.steered_tokens,
            dose_sum=self.dose_sum + other.dose_sum,
            dose_max=max(self.dose_max, other.dose_max),
            clipped=self.clipped + other.clipped,
            in_force={k: self.in_force.get(k, 0) + other.in_force.get(k, 0) for k in self.in_force | other.in_force},
        )


class SteerReport(Frozen):
    """Counts of one request by hook point, and what was read of it; of all requests that share a key, added up.

    requests:          a number for each request that the counts are of
    hooks:             where the request has edits
    conditions:        where a condition of an edit or of an abort reads; counted by the op inside the forward pass
    aborts:            tokens that its aborts were judged at, after the last hook point; None without aborts
    recomputed_tokens: computed more than once, since the scheduler preempted the request
    reads_lost:        whether activations were dropped for want of memory
    refused:           why the worker did none of what was asked; "" where it did
    """

    hooks: dict[str, HookCounts] = Field(default_factory=dict)
    requests: tuple[int, ...] = ()
    conditions: dict[str, TokenCounts] = Field(default_factory=dict)
    aborts: TokenCounts | None = None
    recomputed_tokens: int = 0
    aborted: Aborted | None = None
    activations: PackedActivations | None = None
    reads_lost: bool = False
    refused: str = ""

    @property
    def seen_tokens(self) -> int:
        return sum(counts.seen_tokens for counts in self.hooks.values())

    @property
    def expected_tokens(self) -> int:
        return sum(counts.expected_tokens for counts in self.hooks.values())

    @property
    def steered_tokens(self) -> int:
        """At the hook point that steered most."""
        return max((counts.steered_tokens for counts in self.hooks.values()), default=0)

    @property
    def dose_mean(self) -> float:
        steered = sum(counts.steered_tokens for counts in self.hooks.values())
        return sum(counts.dose_sum for counts in self.hooks.values()) / steered if steered else 0.0

    @property
    def dose_max(self) -> float:
        return max((counts.dose_max for counts in self.hooks.values()), default=0.0)

    @property
    def clipped(self) -> int:
        return max((counts.clipped for counts in self.hooks.values()), default=0)

    def tokens_in_force(self, edit: int) -> int:
        """At how many tokens the request's edit of this index was in force."""
        held = [counts.in_force[edit] for counts in self.hooks.values() if edit in counts.in_force]
        return sum(held) if held else self.steered_tokens

    @property
    def complete(self) -> bool:
        """Whether the op ran over every token that it should have, and every abort was judged at each."""
        return not self.refused and all(counts.complete for _, counts in self.counted)

    @property
    def counted(self) -> list[tuple[str, Counts]]:
        """What was counted, in words and in numbers."""
        return [
            *((f"the edits at {name} ran over", counts) for name, counts in self.hooks.items()),
            *((f"the conditions at {name} were decided at", counts) for name, counts in self.conditions.items()),
            *([("the aborts were judged at", self.aborts)] if self.aborts is not None else []),
        ]

    def lost(self, steering: Steering) -> str:
        """What of a request's steering did not run, as far as this report tells; "" where it accounts for all of it."""
        if self.refused:
            return f"the engine refused the request's steering: {self.refused}"
        for what, counts in self.counted:
            if not counts.complete:
                return f"{what} {counts.seen_tokens} of {counts.expected_tokens} tokens"
        for what, is_due, seen in self.due(steering):
            if is_due and not seen:
                return f"{what} no token"
        return ""

    def due(self, steering: Steering) -> list[tuple[str, bool, bool]]:
        """What comes to one token or more; whether this steering asks for it, and whether it did.

        Edits of generated positions alone may come to none: an answer may end with its first token, which is not
        computed any more.
        """
        moves = any(not edit.is_nothing for edit in steering.edits)
        decided = bool(self.conditions) and all(counts.seen_tokens for counts in self.conditions.values())
        judged = self.aborts is not None and self.aborts.seen_tokens > 0
        return [
            ("the edits ran over", moves and steering.positions is not Positions.GENERATED, self.seen_tokens > 0),
            ("the conditions were decided at", any(True for _ in steering.conditions()), decided),
            ("the aborts were judged at", bool(steering.aborts), judged),
        ]

    def __add__(self, other: "SteerReport") -> "SteerReport":
        return SteerReport(
            hooks=added(self.hooks, other.hooks, HookCounts()),
            conditions=added(self.conditions, other.conditions, TokenCounts()),
            aborts=self.aborts + other.aborts if self.aborts and other.aborts else self.aborts or other.aborts,
            requests=tuple(sorted({*self.requests, *other.requests})),
            recomputed_tokens=self.recomputed_tokens + other.recomputed_tokens,
            aborted=self.aborted or other.aborted,
            activations=both(self.activations, other.activations),
            reads_lost=self.reads_lost or other.reads_lost,
            refused=self.refused or other.refused,
        )

    def to_wire(self) -> dict[str, Any]:
        """Types that msgpack knows: bytes stay bytes."""
        return self.model_dump()


def both(one: PackedActivations | None, other: PackedActivations | None) -> PackedActivations | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


C = TypeVar("C", HookCounts, TokenCounts)


def added(one: dict[str, C], other: dict[str, C], none: C) -> dict[str, C]:
    """By hook point, what two parts of a request came to together."""
    return {name: one.get(name, none) + other.get(name, none) for name in sorted(one.keys() | other.keys())}
