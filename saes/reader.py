"""Reading the stream at a hook point, document by document."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from saes.documents import Document

__all__ = ["FakeReader", "Reader", "read_tokens"]


class Reader(Protocol):
    """Whatever yields the stream at the hook point; ``featurehub.engine.offline.Engine`` does."""

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]: ...


class FakeReader:
    """A reader without a model: every token's stream is a fixed random vector of its id."""

    def __init__(self, vocabulary: int, d_model: int, seed: int = 0) -> None:
        self.embedding = torch.randn(vocabulary, d_model, generator=torch.Generator().manual_seed(seed))

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
        return [self.embedding[torch.tensor(list(document))] for document in documents]


def read_tokens(
    reader: Reader, documents: Sequence[Document], special: Collection[int], documents_per_read: int
) -> Iterator[tuple[Document, Tensor, Tensor]]:
    """Every document with its stream ([tokens, d_model]) and the mask of its ordinary tokens ([tokens]).

    BOS and other special tokens are masked: few as they are, their huge norms would decide every statistic.
    """
    special_ids = torch.tensor(sorted(special), dtype=torch.long)
    for start in range(0, len(documents), documents_per_read):
        chunk = documents[start : start + documents_per_read]
        for document, x in zip(chunk, reader.capture([d.token_ids for d in chunk]), strict=True):
            yield document, x, ~torch.isin(torch.tensor(document.token_ids), special_ids)
