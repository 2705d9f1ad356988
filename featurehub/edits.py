"""Edits as the engine runs them: latents and raw numbers instead of names and weights.

A *steering* is everything that one request asks of the hooks. It crosses into vLLM as one canonical JSON string.
"""

import hashlib
from collections.abc import Iterator
from typing import Self

from pydantic import Field

from featurehub.conditions import Op, Positions
from featurehub.features import Mode
from featurehub.seals import Maker, is_sealed, make_seal
from featurehub.settings import Frozen

__all__ = ["LARGEST", "Abort", "Condition", "LatentEdit", "Read", "Steering", "When"]

LARGEST = 1e9
"""Largest |value| of an edit: any sum of such edits has a finite length in float32, so that the guard can scale it."""


class Condition(Frozen):
    """Whether a latent's activation, in the stream that reaches its hook point, is above or below ``value``.

    sae:    content hash of the latent's SAE; "" is the engine's first
    so_far: at this token or at any before it, instead of at this token alone
    """

    sae: str = ""
    latent: int = Field(ge=0)
    op: Op = Op.ABOVE
    value: float
    so_far: bool = False


class When(Frozen):
    """All of the conditions at once, or ``any`` one of them."""

    conditions: tuple[Condition, ...] = Field(min_length=1)
    any: bool = False


class LatentEdit(Frozen):
    """One edit as the forward pass runs it.

    sae:    content hash of the latent's SAE; "" is the engine's first
    latent: index in that SAE
    value:  nudge: coefficient of W_dec[latent]; pin: target activation; mul: factor; ablate: unused, 0
    when:   the tokens at which the edit is in force; None for all of the request's positions. Its conditions read the
            same hook point or an earlier one.
    """

    sae: str = ""
    latent: int = Field(ge=0)
    mode: Mode
    value: float = 0.0
    when: When | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it leaves every stream as it is."""
        return (self.mode, self.value) in ((Mode.NUDGE, 0.0), (Mode.MUL, 1.0))


class Abort(Frozen):
    """Ends the generation after the first token, at these positions, at which ``when`` holds."""

    event: str = Field(min_length=1, max_length=200)
    when: When
    positions: Positions = Positions.ALL


class Read(Frozen):
    """Which activations of one SAE to report for every token.

    top_k:   the strongest ones, 0 for none
    latents: these, whether they are active or not
    """

    sae: str = ""
    top_k: int = Field(default=0, ge=0, le=64)
    latents: tuple[int, ...] = Field(default=(), max_length=256)


class Steering(Frozen):
    """All that one request asks of the hooks, in the canonical form that crosses into the engine.

    edits:     at most the engine's ``max_edits``, of SAEs at any of its hook points
    positions: where they apply
    dose_max:  bound on ‖Δ‖/‖x‖ per token and hook point
    aborts:    what ends the generation
    reads:     activations to report
    capture:   hook points whose stream to keep, for whoever runs the engine in its own process
    report:    key under which the worker keeps this request's counts until they are fetched; "" for none
    stop_token: what ends an aborted generation; filled in at admission
    nonce:     unlike that of any other request, also of one with the same id; filled in at admission
    seal:      who made this steering (``featurehub.seals``); a client cannot make one
    """

    edits: tuple[LatentEdit, ...] = ()
    positions: Positions = Positions.ALL
    dose_max: float = Field(default=1.0, gt=0.0)
    aborts: tuple[Abort, ...] = ()
    reads: tuple[Read, ...] = ()
    capture: tuple[str, ...] = ()
    report: str = ""
    stop_token: int | None = None
    nonce: str = ""
    seal: str = ""

    @property
    def is_nothing(self) -> bool:
        return not (self.edits or self.aborts or self.reads or self.capture)

    @property
    def needs_every_token(self) -> bool:
        """Whether a token taken from a cache would be missed."""
        return bool(self.aborts or self.reads or self.capture) or any(c.so_far for c in self.conditions())

    @property
    def heeds_prompt_len(self) -> bool:
        """Whether what happens to a token depends on where the prompt ends."""
        return bool(self.edits) and self.positions is not Positions.ALL

    def conditions(self) -> Iterator[Condition]:
        for when in (*(edit.when for edit in self.edits), *(abort.when for abort in self.aborts)):
            yield from when.conditions if when is not None else ()

    def saes(self) -> set[str]:
        named = (*self.edits, *self.reads, *self.conditions())
        return {each.sae for each in named}

    def to_json(self) -> str:
        return self.model_dump_json()

    def sealed(self, maker: Maker) -> Self:
        """This steering with the seal of whoever made it."""
        return self.model_copy(update={"seal": make_seal(self.unsealed_json, maker)})

    def is_sealed(self, maker: Maker) -> bool:
        return is_sealed(self.unsealed_json, self.seal, maker)

    @property
    def unsealed_json(self) -> str:
        return self.model_copy(update={"seal": ""}).to_json()

    def to_request(self) -> str:
        """What a request carries to the engine: admission takes no steering that is not sealed as this is."""
        return self.sealed(Maker.REQUEST).to_json()

    def digest(self) -> str:
        """Equal for steerings that do the same to the stream; "" for one that leaves it alone."""
        if self.is_nothing:
            return ""
        own = self.model_copy(update={"report": "", "nonce": "", "seal": ""})
        return hashlib.sha256(own.to_json().encode()).hexdigest()
