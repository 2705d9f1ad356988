"""What a latent writes: the tokens that its decoder row promotes and suppresses.

    logits_i = W_U · norm(W_dec[i])

It needs no data and no forward pass. The row is read as if it were the whole stream, by the model's own final norm
(``labeling.unembedding``), as transformers' ``lm_head(norm(row))`` reads it; so only the order and the relative size of
the logits mean something. A LayerNorm's bias is included; it adds the same logits to every row.
"""

from collections.abc import Callable, Sequence

import numpy as np

from featurehub.records import TokenLogit

__all__ = ["Projection", "ReadOut", "project"]

ReadOut = Callable[[np.ndarray], np.ndarray]
"""What a model does to rows of its stream before it unembeds them, [rows, d_model] -> [rows, d_model]."""
BLOCK = 256


class Projection:
    """The tokens that every latent promotes and suppresses most. A decoder row of zeros has none.

    Attributes:
        top: The tokens with the highest logits of each latent, highest first.
        bottom: The tokens with the lowest logits of each latent, lowest first.
    """

    def __init__(self, top: Sequence[tuple[TokenLogit, ...]], bottom: Sequence[tuple[TokenLogit, ...]]) -> None:
        self.top = top
        self.bottom = bottom


def project(
    W_dec: np.ndarray, norm: ReadOut, unembed: np.ndarray, tokens: Sequence[str], count: int = 12
) -> Projection:
    """Projects decoder rows to the vocabulary.

    Args:
        W_dec: [d_sae, d_model]. A row of zeros promotes nothing.
        norm: The model's final norm.
        unembed: [vocab, d_model]; rows beyond ``tokens`` (padding) are left out.
        tokens: The vocabulary, by id.
        count: Tokens that are kept of each row, in either direction.

    Returns:
        The strongest tokens of every row in both directions.
    """
    top: list[tuple[TokenLogit, ...]] = []
    bottom: list[tuple[TokenLogit, ...]] = []
    head = np.asarray(unembed[: len(tokens)], dtype=np.float32).T
    for start in range(0, len(W_dec), BLOCK):
        rows = np.asarray(W_dec[start : start + BLOCK], dtype=np.float32)
        for row, logits in zip(rows, norm(rows) @ head, strict=True):
            top.append(flipped(strongest(-logits, tokens, count)) if row.any() else ())
            bottom.append(strongest(logits, tokens, count) if row.any() else ())
    return Projection(top, bottom)


def strongest(row: np.ndarray, tokens: Sequence[str], count: int) -> tuple[TokenLogit, ...]:
    """The tokens with the smallest values, smallest first; among equals the one that comes first in the vocabulary."""
    count = min(count, len(row))
    smallest = np.argpartition(row, count - 1)[:count]
    order = smallest[np.lexsort((smallest, row[smallest]))]
    return tuple(TokenLogit(token=tokens[int(at)], logit=float(row[at])) for at in order)


def flipped(tokens: tuple[TokenLogit, ...]) -> tuple[TokenLogit, ...]:
    return tuple(TokenLogit(token=each.token, logit=-each.logit) for each in tokens)
