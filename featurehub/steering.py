"""The edit equation, once and naively: the twin that every fast path is tested against.

For a token with residual stream x (float32 from here on) and a request's edits k = 1 … K of one SAE:

1. a_k  = act(W_enc[k] · (x − b_dec) + b_enc[k], θ_k)      only the K edited latents are encoded
2. Δ    = Σ_k (target_k(a_k) − a_k) · W_dec[k]              pin: target = value; mul: value · a_k; ablate: 0
3. Δ   += Σ_k value_k · W_dec[k]                            nudge
4. x'   = x + min(1, dose_max · ‖x‖ / ‖Δ‖) · Δ              dose guard

The reconstruction error is left alone, so an edit of weight 0 changes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.features import LatentEdit, Mode

__all__ = ["Steered", "steer_token"]


class Steered(NamedTuple):
    """x: the edited stream; dose: ‖x' − x‖ / ‖x‖; clipped: whether the guard scaled Δ down."""

    x: Tensor
    dose: float
    clipped: bool


def steer_token(x: Tensor, dictionary: Dictionary, edits: Sequence[LatentEdit], dose_max: float) -> Steered:
    """Applies the edits to one token's stream ``x`` ([d_model], any float dtype); computes in float32."""
    x = x.float()
    delta = torch.zeros_like(x)
    for edit in edits:
        delta += change(x, dictionary, edit) * dictionary.W_dec[edit.latent]
    size, norm = float(delta.norm()), float(x.norm())
    if size == 0.0:
        return Steered(x, 0.0, False)
    scale = min(1.0, dose_max * norm / size)
    return Steered(x + scale * delta, scale * size / norm if norm else 0.0, scale < 1.0)


def change(x: Tensor, dictionary: Dictionary, edit: LatentEdit) -> float:
    """By how much the edit moves its latent's activation."""
    if edit.mode is Mode.NUDGE:
        return edit.value
    z = float((x - dictionary.b_dec) @ dictionary.W_enc[edit.latent] + dictionary.b_enc[edit.latent])
    a = z if z > float(dictionary.threshold[edit.latent]) else 0.0
    target = {Mode.PIN: edit.value, Mode.MUL: edit.value * a, Mode.ABLATE: 0.0}[edit.mode]
    return target - a
