"""What a worker reports about one request when its answer is done."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

from pydantic import Field

from featurehub.activations import PackedActivations
from featurehub.conditions import Positions
from featurehub.edits import Steering
from featurehub.settings import Frozen

__all__ = ["Aborted", "HookCounts", "SteerReport", "TokenCounts", "Wire"]

Wire = dict[str, Any]
"""A ``SteerReport`` in types that msgpack knows. What has its default may be missing."""


class Aborted(Frozen):
    """The abort that ended a generation.

    Attributes:
        event: Its name, which several aborts may share.
        index: Its index among the request's aborts.
        position: Position of the token that caused it.
    """

    event: str
    index: int
    position: int


class Counts(Frozen):
    """Tokens of one request at which something had to be done.

    Attributes:
        seen_tokens: Tokens at which it was done.
        expected_tokens: Tokens at which it should have been done. A different number means that steering was lost.
    """

    seen_tokens: int = 0
    expected_tokens: int = 0

    @property
    def complete(self) -> bool:
        """Whether it was done at every expected token."""
        return self.seen_tokens == self.expected_tokens


class TokenCounts(Counts):
    """Tokens at which something was decided."""

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(
            seen_tokens=self.seen_tokens + other.seen_tokens,
            expected_tokens=self.expected_tokens + other.expected_tokens,
        )


class HookCounts(Counts):
    """Counts of one request at one hook point.

    Attributes:
        seen_tokens: Tokens that the op ran over, counted by the op itself inside the forward pass.
        expected_tokens: Tokens that it should have run over, by the step tables. A different number means that steering
            was lost.
        steered_tokens: Tokens with at least one edit in force. Each counts once, although a preempted request computes
            some of them again.
        dose_sum: Sum of ‖x' − x‖ / ‖x‖ over the steered tokens.
        dose_max: Largest ‖x' − x‖ / ‖x‖ of a steered token.
        clipped: Tokens whose Δ the dose guard scaled down.
        in_force: For each edit with a condition, by its index in the request: steered tokens at which the condition
            held.
    """

    steered_tokens: int = 0
    dose_sum: float = 0.0
    dose_max: float = 0.0
    clipped: int = 0
    in_force: dict[int, int] = Field(default_factory=dict)

    @property
    def dose_mean(self) -> float:
        """Mean of ‖x' − x‖ / ‖x‖ over the steered tokens; 0 where there are none."""
        return self.dose_sum / self.steered_tokens if self.steered_tokens else 0.0

    def tokens_in_force(self, edit: int) -> int:
        """At how many tokens an edit of this hook point was in force.

        Args:
            edit: Its index in the request. An edit without a condition is in force at all steered tokens.
        """
        return self.in_force.get(edit, self.steered_tokens)

    def without(self, tokens: int) -> "HookCounts":
        """The counts without so many of the last steered tokens; the mean dose stays. Unchanged with conditions."""
        if self.in_force or not self.steered_tokens:
            return self
        kept = max(0, self.steered_tokens - tokens)
        dose_sum = self.dose_sum * kept / self.steered_tokens
        return self.model_copy(
            update={"steered_tokens": kept, "dose_sum": dose_sum, "clipped": min(self.clipped, kept)}
        )

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
    """What the worker counted and read for one request, or for all requests that share a report key, added up.

    Attributes:
        id: vLLM's id of the request; "" where there are several.
        hooks: Counts by hook point, where the request has edits.
        prompt_tokens: Tokens of its prompt; 0 where there are several.
        requests: One number for each request that the counts cover.
        reached: For each of these numbers, the position after the last token that was computed.
        conditions: By the hook point at which a condition of an edit or an abort reads: tokens at which it was decided,
            counted by the op inside the forward pass.
        aborts: Tokens at which the aborts were judged, after the last hook point; None without aborts.
        recomputed_tokens: Tokens computed more than once because the scheduler preempted the request.
        weights: The identities of the weights that it was computed with, in their order: more than one where they were
            replaced meanwhile.
        aborted: The abort that ended the generation, if one did.
        activations: The activations that the request asked for, if any.
        reads_lost: Whether activations were dropped because memory ran out.
        refused: Why the worker did nothing of what was asked; "" where it did.
    """

    id: str = ""
    hooks: dict[str, HookCounts] = Field(default_factory=dict)
    prompt_tokens: int = 0
    requests: tuple[int, ...] = ()
    reached: dict[int, int] = Field(default_factory=dict)
    conditions: dict[str, TokenCounts] = Field(default_factory=dict)
    aborts: TokenCounts | None = None
    recomputed_tokens: int = 0
    weights: tuple[str, ...] = ()
    aborted: Aborted | None = None
    activations: PackedActivations | None = None
    reads_lost: bool = False
    refused: str = ""

    @property
    def seen_tokens(self) -> int:
        """Tokens that the edits ran over, summed over hook points."""
        return sum(counts.seen_tokens for counts in self.hooks.values())

    @property
    def expected_tokens(self) -> int:
        """Tokens that the edits should have run over, summed over hook points."""
        return sum(counts.expected_tokens for counts in self.hooks.values())

    @property
    def steered_tokens(self) -> int:
        """Steered tokens at the hook point that steered most."""
        return max((counts.steered_tokens for counts in self.hooks.values()), default=0)

    @property
    def dose_max(self) -> float:
        """Largest ‖x' − x‖ / ‖x‖ of any steered token."""
        return max((counts.dose_max for counts in self.hooks.values()), default=0.0)

    @property
    def clipped(self) -> int:
        """Tokens whose Δ was scaled down, at the hook point with most of them."""
        return max((counts.clipped for counts in self.hooks.values()), default=0)

    @property
    def complete(self) -> bool:
        """Whether the op ran over every token that it should have, and every abort was judged at each."""
        return not self.refused and all(counts.complete for _, counts in self.counted)

    @property
    def counted(self) -> list[tuple[str, Counts]]:
        """Every count with a phrase that says what was counted."""
        return [
            *((f"the edits at {name} ran over", counts) for name, counts in self.hooks.items()),
            *((f"the conditions at {name} were decided at", counts) for name, counts in self.conditions.items()),
            *([("the aborts were judged at", self.aborts)] if self.aborts is not None else []),
        ]

    def lost(self, steering: Steering) -> str:
        """Which part of a request's steering did not run, as far as this report shows.

        Args:
            steering: What the request asked for.

        Returns:
            A sentence for the error message; "" where the report accounts for everything.
        """
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
        """What must have happened at one token or more.

        Edits of generated positions alone need not run at all: an answer may end with its first token, which is not
        computed again. Neither need those within a stretch, which may lie beyond the last token.

        Returns:
            A phrase for each part, whether this steering asks for it, and whether it happened.
        """
        moves = any(not edit.is_nothing for edit in steering.edits)
        somewhere = steering.positions is not Positions.GENERATED and steering.within is None
        decided = bool(self.conditions) and all(counts.seen_tokens for counts in self.conditions.values())
        judged = self.aborts is not None and self.aborts.seen_tokens > 0
        return [
            ("the edits ran over", moves and somewhere, self.seen_tokens > 0),
            ("the conditions were decided at", bool(steering.conditions()), decided),
            ("the aborts were judged at", bool(steering.aborts), judged),
        ]

    def until(self, tokens: int, positions: Positions) -> "SteerReport":
        """The report of one request without what was computed after its answer had ended.

        vLLM looks for stop strings outside the engine, which goes on meanwhile; so it does for a step wherever it lays
        out a step before the last one is known. Where a condition decides, counts stay as they are: nobody knows at
        which tokens it held.

        Args:
            tokens: Tokens that were computed for the answer, its prompt among them.
            positions: The positions that the steering applies to.
        """
        beyond = sum(self.reached.values()) - tokens
        if beyond <= 0:
            return self
        ended = self.aborted is not None and self.aborted.position >= tokens
        read = self.activations and self.activations.until(tokens)
        inside = positions is Positions.PROMPT
        hooks = self.hooks if inside else {name: counts.without(beyond) for name, counts in self.hooks.items()}
        return self.model_copy(update={"hooks": hooks, "activations": read, "aborted": None if ended else self.aborted})

    def __add__(self, other: "SteerReport") -> "SteerReport":
        same = self.requests == other.requests
        return SteerReport(
            id=self.id if same else "",
            prompt_tokens=self.prompt_tokens if same else 0,
            hooks=added(self.hooks, other.hooks, HookCounts()),
            conditions=added(self.conditions, other.conditions, TokenCounts()),
            aborts=self.aborts + other.aborts if self.aborts and other.aborts else self.aborts or other.aborts,
            requests=tuple(sorted({*self.requests, *other.requests})),
            reached={k: max(self.reached.get(k, 0), other.reached.get(k, 0)) for k in self.reached | other.reached},
            recomputed_tokens=self.recomputed_tokens + other.recomputed_tokens,
            weights=tuple(dict.fromkeys(self.weights + other.weights)),
            aborted=self.aborted or other.aborted,
            activations=both(self.activations, other.activations),
            reads_lost=self.reads_lost or other.reads_lost,
            refused=self.refused or other.refused,
        )

    @classmethod
    def sum_of(cls, wires: Sequence[Wire]) -> "SteerReport":
        """The sum of at least one report. Raises pydantic's ValidationError."""
        return reduce(add, map(cls.model_validate, wires))

    def to_wire(self) -> Wire:
        """The report as it is sent; bytes stay bytes."""
        return self.model_dump()


def both(one: PackedActivations | None, other: PackedActivations | None) -> PackedActivations | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


C = TypeVar("C", HookCounts, TokenCounts)


def added(one: dict[str, C], other: dict[str, C], none: C) -> dict[str, C]:
    """The sums, by hook point, of what two parts of a request counted."""
    return {name: one.get(name, none) + other.get(name, none) for name in sorted(one.keys() | other.keys())}
