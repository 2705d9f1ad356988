"""Reading the stream at hook points, document by document."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from saes.documents import Document

__all__ = ["FakeReader", "StreamReader", "read_tokens"]


class StreamReader(Protocol):
    """Whatever yields the stream at hook points; ``featurehub.engine.offline.Engine`` does."""

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        """[tokens, points · d_model] of each document, hook points side by side; without any, at the reader's own."""
        ...


class FakeReader:
    """A reader without a model: every token's stream is a fixed random vector of its id.

    At each further hook point it is rolled by one more place.
    """

    def __init__(self, vocabulary: int, d_model: int, seed: int = 0) -> None:
        self.embedding = torch.randn(vocabulary, d_model, generator=torch.Generator().manual_seed(seed))

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        table = torch.cat([self.embedding.roll(i, dims=1) for i in range(max(1, len(points)))], dim=1)
        return [table[torch.tensor(list(document))] for document in documents]


def read_tokens(
    reader: StreamReader,
    documents: Sequence[Document],
    special: Collection[int],
    documents_per_read: int,
    points: Sequence[HookPoint] = (),
) -> Iterator[tuple[Document, Tensor, Tensor]]:
    """Every document with its stream ([tokens, points · d_model]) and the mask of its ordinary tokens ([tokens]).

    BOS and other special tokens are masked: few as they are, their huge norms would decide every statistic.
    """
    special_ids = torch.tensor(sorted(special), dtype=torch.long)
    for start in range(0, len(documents), documents_per_read):
        chunk = documents[start : start + documents_per_read]
        for document, x in zip(chunk, reader.capture([d.token_ids for d in chunk], *points), strict=True):
            yield document, x, ~torch.isin(torch.tensor(document.token_ids), special_ids)
