"""What a transcoder is made from: for each of its layers, the stream before the MLP and what the MLP adds to it.

A harvest at these two sites of some layers has them side by side, in the order in which a token passes them.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from featurehub.artifacts.manifest import Site

__all__ = ["READ", "WRITTEN", "LayerLatents", "LayerStreams", "Pairs", "pairs"]

LayerStreams = Float[Tensor, "tokens layers d_model"]
"""Streams of a transcoder's layers, side by side."""
LayerLatents = Float[Tensor, "tokens layers d_sae"]
"""Latents of a transcoder's layers, side by side."""

READ, WRITTEN = Site.RESID_MID, Site.MLP_OUT
"""The sites that a transcoder reads and predicts."""


class Pairs(NamedTuple):
    """What the layers' MLPs read and write, [tokens, layers, d_model] both.

    Attributes:
        x: The stream before each MLP.
        y: What each MLP adds to the stream.
    """

    x: LayerStreams
    y: LayerStreams


def pairs(columns: Float[Tensor, "tokens layers_2_d_model"], layers: int) -> Pairs:
    """Splits a batch of a harvest into pairs.

    Args:
        columns: [tokens, layers · 2 · d_model]: for each layer, the stream before the MLP and what the MLP adds.
        layers: Number of layers.
    """
    x, y = columns.view(len(columns), layers, 2, -1).unbind(dim=2)
    return Pairs(x, y)
