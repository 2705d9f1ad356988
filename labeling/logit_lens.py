"""What a latent writes: the tokens that its decoder row promotes and suppresses.

    logits_i = unembed · (norm_weight * W_dec[i] / rms(W_dec[i]))

It needs no data and no forward pass. The model's final norm is applied to the row alone, so only the order and the
relative size of the logits mean something.
"""

from collections.abc import Sequence

import numpy as np

from featurehub.records import TokenLogit

__all__ = ["Projection", "project"]

BLOCK = 256


class Projection:
    """The strongest tokens of every latent, best first, in both directions."""

    def __init__(self, top: Sequence[tuple[TokenLogit, ...]], bottom: Sequence[tuple[TokenLogit, ...]]) -> None:
        self.top = top
        self.bottom = bottom


def project(
    W_dec: np.ndarray,
    norm_weight: np.ndarray,
    unembed: np.ndarray,
    tokens: Sequence[str],
    count: int = 12,
    eps: float = 1e-6,
) -> Projection:
    """Projects decoder rows to the vocabulary.

    W_dec:       [d_sae, d_model]
    norm_weight: [d_model] of the final RMS norm
    unembed:     [vocab, d_model]; rows beyond ``tokens`` (padding) are left out
    """
    top: list[tuple[TokenLogit, ...]] = []
    bottom: list[tuple[TokenLogit, ...]] = []
    for start in range(0, len(W_dec), BLOCK):
        rows = np.asarray(W_dec[start : start + BLOCK], dtype=np.float32)
        normed = norm_weight * rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True) + eps)
        logits = normed @ np.asarray(unembed[: len(tokens)], dtype=np.float32).T
        top += [strongest(row, tokens, count) for row in -logits]
        bottom += [strongest(row, tokens, count) for row in logits]
    return Projection([flipped(each) for each in top], bottom)


def strongest(row: np.ndarray, tokens: Sequence[str], count: int) -> tuple[TokenLogit, ...]:
    """The tokens with the smallest values, smallest first; of equals the one that comes first in the vocabulary."""
    count = min(count, len(row))
    smallest = np.argpartition(row, count - 1)[:count]
    order = smallest[np.lexsort((smallest, row[smallest]))]
    return tuple(TokenLogit(token=tokens[int(at)], logit=float(row[at])) for at in order)


def flipped(tokens: tuple[TokenLogit, ...]) -> tuple[TokenLogit, ...]:
    return tuple(TokenLogit(token=each.token, logit=-each.logit) for each in tokens)
