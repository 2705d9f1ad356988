"""Reading the stream at hook points, document by document."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from saes.documents import Document

__all__ = ["FakeReader", "StreamReader", "read_tokens"]

SINK = 10.0


class StreamReader(Protocol):
    """Whatever reads the stream at hook points, as ``featurehub.engine.offline.Engine`` does."""

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        """Reads the stream of documents, given as token ids.

        Args:
            documents: Token ids of each document.
            *points: Hook points to read; without any, the reader's own.

        Returns:
            For each document a tensor of [tokens, points · d_model], with hook points side by side.
        """
        ...


class FakeReader:
    """A reader without a model, for tests: every token's stream is a fixed random vector that depends on its id alone.

    At each further hook point the vector is rolled by one more place.
    """

    def __init__(self, vocabulary: int, d_model: int, seed: int = 0) -> None:
        self.embedding = torch.randn(vocabulary, d_model, generator=torch.Generator().manual_seed(seed))

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        """Returns the stream of each document, as ``StreamReader.capture`` does."""
        table = torch.cat([self.embedding.roll(i, dims=1) for i in range(max(1, len(points)))], dim=1)
        return [table[torch.tensor(list(document))] for document in documents]


def read_tokens(
    reader: StreamReader,
    documents: Sequence[Document],
    special: Collection[int],
    documents_per_read: int,
    points: Sequence[HookPoint] = (),
) -> Iterator[tuple[Document, Tensor, Tensor]]:
    """Reads documents, and marks the tokens that statistics should count.

    Special tokens are masked, and so is the first token of a document, whatever it is: where no BOS stands there, the
    model makes it the sink of its attention, with a norm a hundred times the others'. Rarely another of the first
    tokens becomes one, so whatever has ``SINK`` times the median norm is masked too. Few as they are, they would
    dominate every statistic and every loss.

    Args:
        reader: Reads the stream.
        documents: The documents.
        special: Ids of special tokens.
        documents_per_read: How many documents are read in one call; it bounds memory.
        points: Hook points, as in ``StreamReader.capture``.

    Yields:
        Each document, its stream [tokens, points · d_model], and the mask of its ordinary tokens [tokens].
    """
    special_ids = torch.tensor(sorted(special), dtype=torch.long)
    for start in range(0, len(documents), documents_per_read):
        chunk = documents[start : start + documents_per_read]
        for document, x in zip(chunk, reader.capture([d.token_ids for d in chunk], *points), strict=True):
            mask = ~torch.isin(torch.tensor(document.token_ids), special_ids)
            mask[0] = False
            norms = x.float().norm(dim=-1)
            mask &= norms <= SINK * norms.median()
            yield document, x, mask
