"""Where features lie among the others of their SAE, on a plane."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FeatureMap"]

LATENTS, PLACES = np.dtype("<u4"), np.dtype("<u2")


class FeatureMap(NamedTuple):
    """Places of an SAE's features on a plane: those whose decoder rows point alike lie near to each other.

    Attributes:
        packed_latents: [n] little-endian uint32, their indices in the SAE, ascending.
        packed_places: [n, 2] little-endian uint16, from 0 to 65,535 across a square. Only what is near to what means
            something.
    """

    packed_latents: bytes
    packed_places: bytes

    @classmethod
    def of(cls, latents: ArrayLike, places: ArrayLike) -> "FeatureMap":
        """A map of some latents, ascending, and their places: [n] and [n, 2]."""
        return cls(np.asarray(latents, LATENTS).tobytes(), np.asarray(places, PLACES).tobytes())

    @property
    def latents(self) -> NDArray[np.uint32]:
        """[n] the indices."""
        return np.frombuffer(self.packed_latents, LATENTS)

    @property
    def places(self) -> NDArray[np.uint16]:
        """[n, 2] the places."""
        return np.frombuffer(self.packed_places, PLACES).reshape(-1, 2)
