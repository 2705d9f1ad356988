"""What a worker tells about one request when its answer is done."""

from typing import Any

from pydantic import Field

from featurehub.activations import PackedActivations
from featurehub.settings import Frozen

__all__ = ["Aborted", "HookCounts", "SteerReport"]


class Aborted(Frozen):
    """What ended a generation.

    event:    its name, which several aborts may share
    index:    which of the request's aborts it was
    position: of the token that caused it
    """

    event: str
    index: int
    position: int


class HookCounts(Frozen):
    """Counts of one request at one hook point.

    seen_tokens:     that the op ran over, counted by the op itself inside the forward pass
    expected_tokens: that it should have run over, by the step tables; anything else means that steering was lost
    steered_tokens:  with at least one edit in force, each counted once although a preempted request computes some again
    dose_sum, dose_max: ‖x' − x‖ / ‖x‖ over the steered tokens
    clipped:         tokens whose Δ the dose guard scaled down
    in_force:        by the edit's index in the request, for edits with a condition: steered tokens at which it held
    """

    seen_tokens: int = 0
    expected_tokens: int = 0
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
    recomputed_tokens: computed more than once, since the scheduler preempted the request
    reads_lost:        whether activations were dropped for want of memory
    """

    hooks: dict[str, HookCounts] = Field(default_factory=dict)
    requests: tuple[int, ...] = ()
    recomputed_tokens: int = 0
    aborted: Aborted | None = None
    activations: PackedActivations | None = None
    reads_lost: bool = False

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
        """Whether the op ran over every token that it should have."""
        return all(counts.seen_tokens == counts.expected_tokens for counts in self.hooks.values())

    def __add__(self, other: "SteerReport") -> "SteerReport":
        names = self.hooks.keys() | other.hooks.keys()
        none = HookCounts()
        return SteerReport(
            hooks={name: self.hooks.get(name, none) + other.hooks.get(name, none) for name in sorted(names)},
            requests=tuple(sorted({*self.requests, *other.requests})),
            recomputed_tokens=self.recomputed_tokens + other.recomputed_tokens,
            aborted=self.aborted or other.aborted,
            activations=both(self.activations, other.activations),
            reads_lost=self.reads_lost or other.reads_lost,
        )

    def to_wire(self) -> dict[str, Any]:
        """Types that msgpack knows: bytes stay bytes."""
        return self.model_dump()


def both(one: PackedActivations | None, other: PackedActivations | None) -> PackedActivations | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
