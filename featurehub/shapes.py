"""Shapes as types, under one name each. Checked only under pytest (jaxtyping + beartype).

``tokens`` counts positions, ``d_model`` is the width of the residual stream, ``d_sae`` the number of latents,
``k`` the edits of one request, ``layers`` those of a transcoder.
"""

# jaxtyping's shape strings are no forward references.
# pyright: reportUndefinedVariable=false
from jaxtyping import Bool, Float, Int
from torch import Tensor

Stream = Float[Tensor, "tokens d_model"]
Latents = Float[Tensor, "tokens d_sae"]
EncoderWeight = Float[Tensor, "d_sae d_model"]
DecoderWeight = Float[Tensor, "d_sae d_model"]
LatentBias = Float[Tensor, " d_sae"]
StreamBias = Float[Tensor, " d_model"]
TokenIds = Int[Tensor, " tokens"]
TokenMask = Bool[Tensor, " tokens"]
PerToken = Float[Tensor, " tokens"]
LayerStreams = Float[Tensor, "tokens layers d_model"]
LayerLatents = Float[Tensor, "tokens layers d_sae"]
LayerEncoders = Float[Tensor, "layers d_sae d_model"]
LayerLatentBias = Float[Tensor, "layers d_sae"]
LayerBias = Float[Tensor, "layers d_model"]
