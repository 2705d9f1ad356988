"""Edits as the engine runs them: latents and raw numbers instead of names and weights.

A *steering* is everything that one request asks of the hooks. It crosses into vLLM as one canonical JSON string.

These are msgspec's structs: a worker may read hundreds of them in one step, which takes pydantic several times as long.
Types and bounds are checked where one is read (``Steering.read``), as every request's is at admission.
"""

import hashlib
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from featurehub.conditions import Op, Positions
from featurehub.features import Mode
from featurehub.seals import SEAL_LENGTH, Maker, is_sealed, make_seal

__all__ = [
    "LARGEST",
    "TOP_K_MAX",
    "Abort",
    "Condition",
    "LatentEdit",
    "Read",
    "Steering",
    "When",
    "digest_of",
    "is_sealed_text",
]

END, REPORT = '"}', ',"report":"'
"""What ends a steering's JSON, and what begins the fields that make no difference to the stream: quotes inside a string
are escaped, so that no string contains it."""

TOP_K_MAX = 64
"""How many of a token's strongest latents can be read at most."""

LARGEST = 1e9
"""Largest |value| of an edit: any sum of such edits has a finite length in float32, so that the guard can scale it."""

Latent = Annotated[int, Meta(ge=0)]


class Value(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what crosses into the engine: immutable, and without unknown keys where it is read."""


class Condition(Value, frozen=True, kw_only=True):
    """Whether a latent's activation, in the stream that reaches its hook point, is above or below ``value``.

    Attributes:
        sae: Content hash of the latent's SAE; "" is the engine's first.
        latent: Index in that SAE.
        op: The comparison.
        value: The raw activation that is compared with.
        so_far: Whether the condition also holds at every token after one at which it was met.
    """

    sae: str = ""
    latent: Latent
    op: Op = Op.ABOVE
    value: float
    so_far: bool = False


class When(Value, frozen=True, kw_only=True):
    """Several conditions combined.

    Attributes:
        conditions: At least one.
        any: Whether one of them is enough; otherwise all must hold.
    """

    conditions: Annotated[tuple[Condition, ...], Meta(min_length=1)]
    any: bool = False


class LatentEdit(Value, frozen=True, kw_only=True):
    """One edit as the forward pass runs it.

    Attributes:
        sae: Content hash of the latent's SAE; "" is the engine's first.
        latent: Index in that SAE.
        mode: What the edit does to the latent's activation.
        value: For ``nudge`` the coefficient of the latent's steering vector (``Dictionary.nudges``), for ``pin`` the
            target activation, for ``mul`` the factor; 0 for ``ablate``, which does not use it.
        when: The condition that decides at which tokens the edit is in force; None for all of the request's positions.
            It reads the same hook point or an earlier one.
    """

    sae: str = ""
    latent: Latent
    mode: Mode
    value: float = 0.0
    when: When | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the edit leaves every stream as it is."""
        return (self.mode, self.value) in ((Mode.NUDGE, 0.0), (Mode.MUL, 1.0))


class Abort(Value, frozen=True, kw_only=True):
    """Ends the generation after the first token, at these positions, at which ``when`` holds.

    Attributes:
        event: Name that the report gives to what happened; several aborts may share one.
        when: The condition.
        positions: The tokens that are watched.
    """

    event: Annotated[str, Meta(min_length=1, max_length=200)]
    when: When
    positions: Positions = Positions.ALL


class Read(Value, frozen=True, kw_only=True):
    """Which activations of one SAE to report for every token.

    Attributes:
        sae: Content hash of the SAE; "" is the engine's first.
        top_k: How many of each token's strongest latents to report, at most 64; 0 for none.
        latents: Latents to report whether they are active or not; at most 256.
        totals: Stretches of positions, each from its first to the one after its last; over all of their tokens together
            it is reported how often each latent was active, the sum of its activations and the largest. At most 256.
    """

    sae: str = ""
    top_k: Annotated[int, Meta(ge=0, le=TOP_K_MAX)] = 0
    latents: Annotated[tuple[int, ...], Meta(max_length=256)] = ()
    totals: Annotated[tuple[tuple[int, int], ...], Meta(max_length=256)] = ()


class Steering(Value, frozen=True, kw_only=True):
    """All that one request asks of the hooks, in the canonical form that crosses into the engine.

    Attributes:
        edits: At most the engine's ``max_edits``, of SAEs at any of its hook points.
        positions: The tokens that the edits apply to.
        within: A stretch of positions, from its first to the one after its last, outside of which no edit applies; None
            for no bound.
        dose_max: Bound on ‖Δ‖/‖x‖ per token and hook point; beyond it Δ is scaled down.
        aborts: What ends the generation early.
        reads: Activations to report.
        capture: Hook points whose stream is kept, for programs that run the engine in their own process.
        stop_token: Token id that ends an aborted generation; filled in at admission.
        report: Key under which the worker keeps this request's counts until they are fetched; "" for none.
        nonce: Differs from that of every other request, even of one with the same id; filled in at admission.
        seal: Proof of who made this steering (``featurehub.seals``); a client cannot make one.
    """

    edits: tuple[LatentEdit, ...] = ()
    positions: Positions = Positions.ALL
    within: tuple[Annotated[int, Meta(ge=0)], int] | None = None
    dose_max: Annotated[float, Meta(gt=0.0)] = 1.0
    aborts: tuple[Abort, ...] = ()
    reads: tuple[Read, ...] = ()
    capture: tuple[str, ...] = ()
    stop_token: int | None = None
    # What follows makes no difference to the stream. It stands last, so that a text can be read without it.
    report: str = ""
    nonce: str = ""
    seal: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether the request asks nothing of the hooks."""
        return not (self.edits or self.aborts or self.reads or self.capture)

    @property
    def needs_every_token(self) -> bool:
        """Whether every token must be computed, so that none may be taken from the prefix cache."""
        # The counts of edits within a stretch say nothing where the cache held all of its tokens.
        asks = self.aborts or self.reads or self.capture or (self.edits and self.within is not None)
        return bool(asks) or any(c.so_far for c in self.conditions())

    @property
    def heeds_prompt_len(self) -> bool:
        """Whether what happens to a token depends on where the prompt ends."""
        return bool(self.edits) and self.positions is not Positions.ALL

    def bounds(self, prompt_len: int) -> tuple[int, int]:
        """The positions that the edits apply to: the first, and the one after the last."""
        first, stop = self.positions.bounds(prompt_len)
        return (first, stop) if self.within is None else (max(first, self.within[0]), min(stop, self.within[1]))

    def conditions(self) -> list[Condition]:
        """Every condition of the edits, then of the aborts."""
        waiting = (*self.edits, *self.aborts)
        return [condition for each in waiting if each.when is not None for condition in each.when.conditions]

    def saes(self) -> set[str]:
        """The content hashes of all SAEs that the edits, reads and conditions use."""
        named = (*self.edits, *self.reads, *self.conditions())
        return {each.sae for each in named}

    @classmethod
    def read(cls, text: str) -> Self:
        """The steering that a JSON says. Raises msgspec.DecodeError where it says none, or a value is out of bounds."""
        return msgspec.json.decode(text, type=cls)

    def to_json(self) -> str:
        """The steering as canonical JSON, with its seal."""
        return msgspec.json.encode(self).decode()

    def to_sealed(self, maker: Maker) -> str:
        """The canonical JSON with the seal of whoever made it, which ``is_sealed_text`` knows."""
        text = (msgspec.structs.replace(self, seal="") if self.seal else self).to_json()
        return f"{text[: -len(END)]}{make_seal(text, maker)}{END}"

    def to_request(self) -> str:
        """The JSON that a request carries to the engine. Admission refuses a steering that is not sealed this way."""
        return self.to_sealed(Maker.REQUEST)

    def digest(self) -> str:
        """SHA-256 over all of it but ``report``, ``nonce`` and ``seal``; "" for a steering that asks nothing."""
        return "" if self.is_nothing else digest_of(self.to_json())


def is_sealed_text(text: str, maker: Maker) -> bool:
    """Whether a canonical JSON has this maker's seal and has not changed since. Nothing is written out again for it."""
    end = len(text) - len(END)
    start = end - SEAL_LENGTH
    return is_sealed(text[: max(0, start)] + END, text[max(0, start) : end], maker)


def digest_of(text: str) -> str:
    """``Steering.digest`` from the canonical JSON of a steering that asks something."""
    return hashlib.sha256(text[: text.rindex(REPORT)].encode()).hexdigest()
