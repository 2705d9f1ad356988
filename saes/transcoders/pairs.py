"""What a transcoder is made from: for each of its layers the stream before the MLP, and what the MLP adds to it.

A harvest at these two sites of some layers has them side by side, in the order in which a token passes them.
"""

from typing import NamedTuple

from torch import Tensor

from featurehub.artifacts.manifest import Site
from featurehub.shapes import LayerStreams

__all__ = ["READ", "WRITTEN", "Pairs", "pairs"]

READ, WRITTEN = Site.RESID_MID, Site.MLP_OUT


class Pairs(NamedTuple):
    """x: before the MLP;  y: what the MLP adds; both [tokens, layers, d_model]"""

    x: LayerStreams
    y: LayerStreams


def pairs(columns: Tensor, layers: int) -> Pairs:
    """columns: [tokens, layers · 2 · d_model], as harvested"""
    x, y = columns.view(len(columns), layers, 2, -1).unbind(dim=2)
    return Pairs(x, y)
