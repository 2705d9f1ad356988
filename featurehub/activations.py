"""Activations that a request's tokens had, packed: a report of many tokens is a few buffers, not a million objects.

The worker writes a block with a few tensor operations, it crosses into the frontend as bytes, and whoever wants single
tokens unpacks them there, away from the engine's loop.
"""

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from featurehub.settings import Frozen

__all__ = ["NO_LATENT", "ActivationBlock", "PackedActivations", "TokenFeatures"]

NO_LATENT = -1
"""Stands in a block where fewer latents were active than were asked for."""

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]


class TokenFeatures(Frozen):
    """One token's activations in one SAE: the strongest first, then those of latents that were named. token: its id."""

    sae: str = ""
    position: int
    token: int
    latents: tuple[int, ...]
    activations: tuple[float, ...]


class ActivationBlock(Frozen):
    """What one request's tokens activated in one SAE. Little-endian, 32 bits a number.

    positions:   [tokens] of the tokens in the request, ascending
    token_ids:   [tokens]
    latents:     [tokens, columns], each token's strongest first, then those that were named; ``NO_LATENT`` for none
    activations: [tokens, columns], of the same latents
    """

    sae: str = ""
    positions: bytes
    token_ids: bytes
    latents: bytes
    activations: bytes

    @classmethod
    def pack(cls, sae: str, positions: Ints, token_ids: Ints, latents: Ints, activations: Floats) -> Self:
        ints = {"positions": positions, "token_ids": token_ids, "latents": latents}
        packed = {name: values.astype("<i4", copy=False).tobytes() for name, values in ints.items()}
        return cls(sae=sae, **packed, activations=activations.astype("<f4", copy=False).tobytes())

    @model_validator(mode="after")
    def check(self) -> Self:
        tokens, numbers = len(self.positions), len(self.latents)
        sizes = (len(self.token_ids) == tokens, len(self.activations) == numbers, numbers % max(4, tokens) == 0)
        if tokens % 4 or not all(sizes):
            raise ValueError("the buffers of a block have different numbers of tokens")
        return self

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.positions) // 4

    @property
    def is_gapless(self) -> bool:
        """Whether these are a request's tokens from the first one on, each once."""
        positions = np.frombuffer(self.positions, "<i4")
        return len(positions) > 0 and np.array_equal(positions, np.arange(len(positions)))

    def tokens(self) -> list[int]:
        """Their ids."""
        return np.frombuffer(self.token_ids, "<i4").tolist()

    def distinct(self) -> set[int]:
        """The latents that occur."""
        return {*np.unique(np.frombuffer(self.latents, "<i4")).tolist()} - {NO_LATENT}

    def rows(self) -> Iterator[tuple[int, int, list[int], list[float]]]:
        """Of every token: position, token id, latents and their activations."""
        position, token = np.frombuffer(self.positions, "<i4").tolist(), self.tokens()
        shape = (len(self), -1 if self.latents else 0)
        latents = np.frombuffer(self.latents, "<i4").reshape(shape)
        activations = np.frombuffer(self.activations, "<f4").reshape(shape)
        for at in range(len(self)):
            kept = latents[at] != NO_LATENT
            yield position[at], token[at], latents[at][kept].tolist(), activations[at][kept].tolist()


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PackedActivations:
    """Of one report: a block for each request and each SAE that it read. Iterates over the tokens of all blocks."""

    blocks: tuple[ActivationBlock, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __add__(self, other: "PackedActivations") -> "PackedActivations":
        return PackedActivations((*self.blocks, *other.blocks))

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
