"""Samples of what the model reads, for input drift (``featurehub.input_drift``): sums, never text or tokens.

1. A *reservoir* holds 16 requests. Of all that came since it was emptied each stands in it with the same probability
   (Vitter 1985, "Random sampling with a reservoir", algorithm R). Not those that came in a *crowded* step, which left
   no room for others: somebody may be waiting.
2. Of a request up to 16 tokens of its prompt are read, chosen at random among those that its first step computes, but
   for position 0. What lies in the prefix cache is not computed: it was, and could be read, when it came first.
3. As their streams pass a hook point they are put aside, before what is edited there. So a steered request may be read
   as well as any other, if it edits at the last hook point only: no edit changes the stream before it.
4. About once a second the server looks (``look``). If the reservoir is full, the last step was not crowded and some of
   the allowance is left (``featurehub.engine.allowance``), it is encoded and emptied (``featurehub.engine.encoding``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.edits import Steering
from featurehub.engine.allowance import SamplingAllowance
from featurehub.engine.encoding import Encoding, encoded
from featurehub.engine.sheet import Place, place
from featurehub.input_drift.sample import REQUESTS

if TYPE_CHECKING:
    from featurehub.engine.hookset import HookSet

__all__ = ["SAMPLER", "Chosen", "Newcomer", "Sampler", "is_crowded", "may_sample"]

TOKENS = 16
"""Most tokens of a request."""
LEAST = 4
"""A request of which fewer are computed is not read."""
OWN = "featurehub-"
"""What the ids of requests begin with that the server makes itself."""

Ints = NDArray[np.int64]


class Newcomer(NamedTuple):
    """A request in its first step.

    Attributes:
        start: Batch index of its first token.
        tokens: How many tokens of its prompt the step computes.
        position: Position of the first of them.
        has_row: Whether it runs under a row of the tables.
    """

    start: int
    tokens: int
    position: int
    has_row: bool = False


class Chosen(NamedTuple):
    """The tokens of a step that are put aside.

    Attributes:
        places: [requests] in which place of the reservoir each request goes.
        counts: [requests] how many tokens of each.
        at: Where the tokens stand in the batch.
        bare: [tokens without a row] batch indices of those that run under no row.
    """

    places: Sequence[int]
    counts: Sequence[int]
    at: Place
    bare: Ints


@dataclass
class Sampler:
    """Samples for one worker's model, as the module describes. It does nothing until somebody looks.

    Attributes:
        random: What chooses requests and tokens.
        allowance: What it may take.
        came: How many requests came that could have been read, since the reservoir was emptied.
        reservoir: For each of its places, the streams by index of the hook point, [tokens, d_model] each.
        wanted: What the step that begins puts aside; None for nothing.
        active: Whether anybody has looked.
        crowded: Whether the last step was.
        encodings: What was encoded and is not handed out yet.
        of: The hook set and the weights whose streams the reservoir has.
    """

    random: np.random.Generator = field(default_factory=np.random.default_rng)
    allowance: SamplingAllowance = field(default_factory=SamplingAllowance)
    came: int = 0
    reservoir: list[dict[int, Tensor]] = field(default_factory=lambda: [{} for _ in range(REQUESTS)])
    wanted: Chosen | None = None
    active: bool = False
    crowded: bool = False
    encodings: list[Encoding] = field(default_factory=list)
    of: tuple[object, str] = (None, "")

    def begin_step(self, newcomers: Sequence[Newcomer], device: torch.device, crowded: bool = False) -> None:
        """Says what a step puts aside: steps 1 and 2. Every step begins with it, also one without newcomers."""
        self.wanted, self.crowded = None, crowded
        if not newcomers or crowded or self.allowance.left <= 0:
            return
        with self.allowance:
            chosen: dict[int, tuple[Newcomer, Ints]] = {}
            for each in newcomers:
                if len(own := self.choose(each)) and (at := self.draw()) < REQUESTS:
                    chosen[at] = each, own
            self.wanted = chosen_of(chosen, device) if chosen else None

    def choose(self, request: Newcomer) -> Ints:
        """The batch indices of a request's tokens that are read, ascending; none where there are too few."""
        first = int(request.position == 0)
        if request.tokens - first < LEAST:
            return np.zeros(0, np.int64)
        count = min(TOKENS, request.tokens - first)
        return request.start + first + np.sort(self.random.choice(request.tokens - first, count, replace=False))

    def draw(self) -> int:
        """The place of the next request in the reservoir; one beyond its end where it gets none."""
        self.came += 1
        return self.came - 1 if self.came <= REQUESTS else int(self.random.integers(self.came))

    def put(self, index: int, x: Tensor, wanted: Chosen) -> None:
        """Puts streams aside ([tokens, d_model], float32, nobody's else), of the tokens that were wanted: step 3."""
        with self.allowance:
            for at, part in zip(wanted.places, x.split(list(wanted.counts)), strict=True):
                kept = self.reservoir[at]
                if index in kept:
                    kept.clear()
                kept[index] = part

    def look(self, hooks: "HookSet", share: float) -> tuple[list[dict[str, Any]], float]:
        """Step 4.

        Args:
            hooks: The hook set of the model.
            share: The share of time that may be taken, in (0, 1).

        Returns:
            The samples that were encoded when somebody looked last, and the seconds taken so far.
        """
        self.active = True
        self.allowance.fill(share)
        done, self.encodings = self.encodings, []
        for each in done:
            self.allowance.take(each.seconds())
        self.keep_to(hooks)
        if self.came >= REQUESTS and not self.crowded and self.allowance.left > 0:
            for hook in hooks.hooks:
                hook.drain()
            with self.allowance:
                self.encode(hooks)
        return [each.sample().wire() for each in done], self.allowance.taken

    def keep_to(self, hooks: "HookSet") -> None:
        """Empties the reservoir where its streams are another model's."""
        if self.of != (of := (hooks, hooks.weights.identity)):
            self.of = of
            self.empty()

    def empty(self) -> None:
        self.came = 0
        self.reservoir = [{} for _ in range(REQUESTS)]

    def encode(self, hooks: "HookSet") -> None:
        """Encodes the reservoir with every SAE, and empties it."""
        for hook in hooks.hooks:
            streams = [each[hook.index] for each in self.reservoir if hook.index in each]
            if hook.table is not None and len(streams) == REQUESTS:
                bank, weights = hook.table.bank, hooks.weights.identity
                self.encodings += [encoded(bank, sae, streams, weights) for sae in bank.slices]
        self.empty()


def chosen_of(chosen: Mapping[int, tuple[Newcomer, Ints]], device: torch.device) -> Chosen:
    """What was chosen, in the order of the batch: by place of the reservoir, a request and its tokens."""
    ordered = sorted(chosen.items(), key=lambda each: each[1][0].start)
    indices = np.concatenate([own for _, (_, own) in ordered])
    bare = [own for _, (request, own) in ordered if not request.has_row]
    return Chosen(
        [at for at, _ in ordered],
        [len(own) for _, (_, own) in ordered],
        place(indices, device),
        np.concatenate(bare) if bare else np.zeros(0, np.int64),
    )


def is_crowded(hooks: "HookSet", requests: int, tokens: int) -> bool:
    """Whether a step leaves no room for others: somebody may be waiting. One long prompt by itself is no crowd."""
    return requests >= len(hooks.rows.requests) - 1 or (requests > 1 and tokens >= len(hooks.conditions.truths))


def may_sample(request: Any, steering: Steering | None, hooks: "HookSet") -> bool:
    """Whether a new request may be read: not one of the server's own, of an adapter, or that is edited too early.

    Args:
        request: vLLM's ``NewRequestData``.
        steering: Its steering, if it has one.
        hooks: The hook set of the model.
    """
    if request.lora_request is not None or request.req_id.startswith(OWN):
        return False
    edited = {hooks.place.get(each.sae, 0) for each in steering.edits} if steering is not None else set()
    return edited <= {len(hooks.hooks) - 1}


SAMPLER = Sampler()
"""The sampler of this process's model."""
