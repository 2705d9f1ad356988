"""The activations of a request's tokens, packed: a report on many tokens is a few buffers, not a million objects.

The worker writes a block with a few tensor operations. It crosses into the frontend as bytes, and code that needs
single tokens unpacks them there, outside the engine's loop.
"""

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from featurehub.settings import Frozen

__all__ = ["NO_LATENT", "ActivationBlock", "ActivationTotals", "PackedActivations", "TokenFeatures"]

NO_LATENT = -1
"""Fills a block where fewer latents were active than were asked for."""

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


class TokenFeatures(Frozen):
    """One token's activations in one SAE.

    Attributes:
        sae: Content hash of the SAE; "" is the engine's first.
        position: The token's position in the request.
        token: The token's id.
        latents: The strongest latents first, then those that were named in the request.
        activations: Theirs, in the same order.
    """

    sae: str = ""
    position: int
    token: int
    latents: tuple[int, ...]
    activations: tuple[float, ...]


class ActivationBlock(Frozen):
    """The activations of one request's tokens in one SAE. Buffers are little-endian, with 32 bits per number.

    Attributes:
        sae: Content hash of the SAE; "" is the engine's first.
        positions: int32 [tokens], positions of the tokens in the request, ascending.
        token_ids: int32 [tokens].
        latents: int32 [tokens, columns]: each token's strongest latents first, then those that were named;
            ``NO_LATENT`` fills the columns that are left.
        activations: float32 [tokens, columns], of the same latents.
    """

    sae: str = ""
    positions: bytes
    token_ids: bytes
    latents: bytes
    activations: bytes

    @classmethod
    def pack(cls, sae: str, positions: Ints, token_ids: Ints, latents: Ints, activations: Floats) -> Self:
        """A block from arrays; their shapes are those of the attributes."""
        ints = {"positions": positions, "token_ids": token_ids, "latents": latents}
        packed = {name: values.astype("<i4", copy=False).tobytes() for name, values in ints.items()}
        return cls(sae=sae, **packed, activations=activations.astype("<f4", copy=False).tobytes())

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuses buffers of different numbers of tokens."""
        tokens, numbers = len(self.positions), len(self.latents)
        sizes = (len(self.token_ids) == tokens, len(self.activations) == numbers, numbers % max(4, tokens) == 0)
        if tokens % 4 or not all(sizes):
            raise ValueError("the buffers of a block have different numbers of tokens")
        return self

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.positions) // 4

    @property
    def is_gapless(self) -> bool:
        """Whether the block holds a request's tokens from the first one on, each once."""
        positions = np.frombuffer(self.positions, "<i4")
        return len(positions) > 0 and np.array_equal(positions, np.arange(len(positions)))

    def until(self, tokens: int) -> Self:
        """The first so many tokens of the block."""
        before, kept = len(self), min(tokens, len(self))
        if kept == before:
            return self
        columns = ("positions", "token_ids", "latents", "activations")
        return self.model_copy(update={name: first(getattr(self, name), kept, before) for name in columns})

    def tokens(self) -> list[int]:
        """The ids of the tokens."""
        return np.frombuffer(self.token_ids, "<i4").tolist()

    def distinct(self) -> set[int]:
        """The latents that occur in the block."""
        return {*np.unique(np.frombuffer(self.latents, "<i4")).tolist()} - {NO_LATENT}

    def arrays(self) -> tuple[Ints, Floats]:
        """Latents and activations, [tokens, columns]."""
        shape = (len(self), -1 if self.latents else 0)
        latents, activations = np.frombuffer(self.latents, "<i4"), np.frombuffer(self.activations, "<f4")
        return latents.reshape(shape), activations.reshape(shape)

    def rows(self) -> Iterator[tuple[int, int, list[int], list[float]]]:
        """Unpacks the block.

        Yields:
            For each token: its position, its id, its latents and their activations.
        """
        position, token = np.frombuffer(self.positions, "<i4").tolist(), self.tokens()
        latents, activations = self.arrays()
        for at in range(len(self)):
            kept = latents[at] != NO_LATENT
            yield position[at], token[at], latents[at][kept].tolist(), activations[at][kept].tolist()


def first(buffer: bytes, tokens: int, of: int) -> bytes:
    """The part of a buffer that holds the first ``tokens`` of its ``of`` tokens."""
    return buffer[: len(buffer) // of * tokens]


class ActivationTotals(Frozen):
    """What the latents of one SAE did over stretches of one request. Buffers are little-endian, 32 bits per number.

    Attributes:
        sae: Content hash of the SAE; "" is the engine's first.
        tokens: Number of the tokens that were read.
        latents: int32 [latents], those that were active at any of them, ascending.
        counts: int32 [latents], at how many tokens each was active.
        sums: float32 [latents], sums of their activations.
        maxima: float32 [latents], their largest activations.
    """

    sae: str = ""
    tokens: int
    latents: bytes
    counts: bytes
    sums: bytes
    maxima: bytes

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuses buffers of different numbers of latents."""
        if len({len(self.latents), len(self.counts), len(self.sums), len(self.maxima)}) > 1 or len(self.latents) % 4:
            raise ValueError("the buffers of the totals have different numbers of latents")
        return self

    def arrays(self) -> tuple[Ints, Ints, Floats, Floats]:
        """Latents, counts, sums and maxima."""
        ints, floats = (self.latents, self.counts), (self.sums, self.maxima)
        latents, counts = (np.frombuffer(each, "<i4") for each in ints)
        sums, maxima = (np.frombuffer(each, "<f4") for each in floats)
        return latents, counts, sums, maxima


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PackedActivations:
    """The activations of one report. Iterating yields a ``TokenFeatures`` for each token of each block.

    Attributes:
        blocks: One for each request and each SAE that it read.
        totals: One for each request and each SAE over whose tokens it asked for totals.
    """

    blocks: tuple[ActivationBlock, ...] = ()
    totals: tuple[ActivationTotals, ...] = ()

    def __len__(self) -> int:
        """Number of tokens in all blocks."""
        return sum(map(len, self.blocks))

    def until(self, tokens: int) -> "PackedActivations":
        """The first so many tokens of each block; totals stay."""
        return PackedActivations(tuple(block.until(tokens) for block in self.blocks), self.totals)

    def __add__(self, other: "PackedActivations") -> "PackedActivations":
        return PackedActivations((*self.blocks, *other.blocks), (*self.totals, *other.totals))

    def __iter__(self) -> Iterator[TokenFeatures]:
        for block in self.blocks:
            for position, token, latents, activations in block.rows():
                # Not validated again: there may be thousands, and they come from arrays.
                yield TokenFeatures.model_construct(
                    sae=block.sae,
                    position=position,
                    token=token,
                    latents=tuple(latents),
                    activations=tuple(activations),
                )
