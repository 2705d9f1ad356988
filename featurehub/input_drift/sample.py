"""What leaves the engine: sums over the tokens of a few requests, nothing of which tells one of them from another."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "EDGES", "REQUESTS", "Sample"]

REQUESTS = 16
"""How many requests a sample is of."""
EDGES = np.geomspace(2.0**-10, 2.0, 63)
"""Where one bin of errors ends and the next begins."""
BINS = len(EDGES) + 1


class Sample(NamedTuple):
    """How an SAE did on tokens of ``REQUESTS`` requests. Each request counts the same, however many tokens it has.

    The *error* of a token is ‖x − x̂‖² / ‖x − b_dec‖², of the stream x and what the SAE makes of it.

    Attributes:
        sae: Id of the SAE.
        weights: Identity of the model's weights.
        tokens: How many tokens were read.
        latents: [active] int32, the latents that were active at any of the tokens, ascending.
        rates: [active] float32, for each the mean over the requests of the share of tokens at which it was active.
        errors: [BINS] float32, the mean over the requests of the share of tokens whose error lies in each bin.
        l0: Mean over the requests of the mean number of active latents.
    """

    sae: str
    weights: str
    tokens: int
    latents: NDArray[np.int32]
    rates: NDArray[np.float32]
    errors: NDArray[np.float32]
    l0: float

    def wire(self) -> dict[str, Any]:
        """The sample as plain types."""
        arrays = ("latents", "rates", "errors")
        return {**self._asdict(), **{name: getattr(self, name).tobytes() for name in arrays}}

    @classmethod
    def of(cls, wire: dict[str, Any]) -> "Sample":
        """What ``wire`` made."""
        types = {"latents": np.int32, "rates": np.float32, "errors": np.float32}
        return cls(**{**wire, **{name: np.frombuffer(wire[name], dtype) for name, dtype in types.items()}})

    def dense(self, d_sae: int) -> NDArray[np.float64]:
        """[d_sae] the rates of all latents."""
        rates = np.zeros(d_sae)
        rates[self.latents] = self.rates
        return rates
