"""What a latent writes: the tokens that its decoder row promotes and suppresses.

    logits_i = W_U · norm(W_dec[i])

It needs no data and no forward pass. The row is read as if it were the whole stream, by the model's own final norm
(``labeling.unembedding``), as transformers' ``lm_head(norm(row))`` reads it; so only the order and the relative size of
the logits mean something. A LayerNorm's bias is included; it adds the same logits to every row.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, overload

import numpy as np

from featurehub.records import TokenLogit

__all__ = ["Projection", "ReadOut", "project"]

ReadOut = Callable[[np.ndarray], np.ndarray]
"""What a model does to rows of its stream before it unembeds them, [rows, d_model] -> [rows, d_model]."""
BLOCK = 256


class TokenRows(Sequence[tuple[TokenLogit, ...]]):
    """Some tokens with their logits for every latent, kept as arrays, which take a fraction of the memory of values.

    Args:
        ids: [d_sae, count] indices of tokens, in their order.
        logits: [d_sae, count]; NaN for a latent that has none.
        tokens: The vocabulary, by id.
    """

    def __init__(self, ids: np.ndarray, logits: np.ndarray, tokens: Sequence[str]) -> None:
        self.ids, self.logits, self.tokens = ids, logits, tokens

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> tuple[TokenLogit, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[TokenLogit, ...]]: ...
    def __getitem__(self, index: int | slice) -> "tuple[TokenLogit, ...] | Sequence[tuple[TokenLogit, ...]]":
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        pairs = zip(map(int, self.ids[index]), map(float, self.logits[index]), strict=True)
        return tuple(TokenLogit(token=self.tokens[id], logit=logit) for id, logit in pairs if not math.isnan(logit))


class Projection(NamedTuple):
    """The tokens that every latent promotes and suppresses most. A decoder row of zeros has none.

    Attributes:
        top: The tokens with the highest logits of each latent, highest first.
        bottom: The tokens with the lowest logits of each latent, lowest first.
    """

    top: Sequence[tuple[TokenLogit, ...]]
    bottom: Sequence[tuple[TokenLogit, ...]]


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
    head = np.asarray(unembed[: len(tokens)], dtype=np.float32).T
    count = min(count, head.shape[1])
    ids = np.zeros((2, len(W_dec), count), dtype=np.int32)
    values = np.full((2, len(W_dec), count), np.nan, dtype=np.float32)
    for start in range(0, len(W_dec), BLOCK):
        rows = np.asarray(W_dec[start : start + BLOCK], dtype=np.float32)
        for at, (row, logits) in enumerate(zip(rows, norm(rows) @ head, strict=True), start):
            if row.any():
                ids[:, at] = strongest(-logits, count), strongest(logits, count)
                values[:, at] = logits[ids[:, at]]
    top, bottom = (TokenRows(*each, tokens) for each in zip(ids, values, strict=True))
    return Projection(top, bottom)


def strongest(row: np.ndarray, count: int) -> np.ndarray:
    """The smallest values' indices, smallest first; among equals the one that comes first."""
    smallest = np.argpartition(row, count - 1)[:count]
    return smallest[np.lexsort((smallest, row[smallest]))]
