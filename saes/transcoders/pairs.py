"""What a transcoder is made from: for each of its layers the stream before the MLP, and what the MLP adds to it.

A harvest at these two sites of some layers has them side by side, in the order in which a token passes them.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from featurehub.artifacts.manifest import Site

__all__ = ["READ", "WRITTEN", "LayerLatents", "LayerStreams", "Pairs", "pairs"]

LayerStreams = Float[Tensor, "tokens layers d_model"]
LayerLatents = Float[Tensor, "tokens layers d_sae"]
"""Of a transcoder's layers, side by side."""

READ, WRITTEN = Site.RESID_MID, Site.MLP_OUT


class Pairs(NamedTuple):
    """x: before the MLP;  y: what the MLP adds"""

    x: LayerStreams
    y: LayerStreams


def pairs(columns: Float[Tensor, "tokens layers_2_d_model"], layers: int) -> Pairs:
    """columns: the 2 · layers streams side by side, as harvested"""
    x, y = columns.view(len(columns), layers, 2, -1).unbind(dim=2)
    return Pairs(x, y)
