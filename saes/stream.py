"""The engine's activations as the trainer's batches: endless, shuffled, in bounded memory."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import torch
from pydantic import Field
from sae_lens.training.mixing_buffer import mixing_buffer
from torch import Tensor

from featurehub.settings import Frozen
from saes.documents import Document

__all__ = ["FakeReader", "Reader", "StreamConfig", "read_batches", "read_tokens"]


class Reader(Protocol):
    """Whatever yields the stream at the hook point; ``featurehub.engine.offline.Engine`` does."""

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]: ...


class FakeReader:
    """A reader without a model: every token's stream is a fixed random vector of its id."""

    def __init__(self, vocabulary: int, d_model: int, seed: int = 0) -> None:
        self.embedding = torch.randn(vocabulary, d_model, generator=torch.Generator().manual_seed(seed))

    def capture(self, documents: Sequence[Sequence[int]]) -> list[Tensor]:
        return [self.embedding[torch.tensor(list(document))] for document in documents]


class StreamConfig(Frozen):
    """documents_per_read: documents that one call of the engine prefills
    buffer_tokens:      size of the shuffle buffer; memory is buffer_tokens · d_model · 4 bytes, twice while it mixes
    kept_tokens:        how many tokens' streams are kept in memory, so that later epochs need not read them again
    """

    documents_per_read: int = Field(default=512, ge=1)
    buffer_tokens: int = Field(default=65_536, ge=1)
    kept_tokens: int = Field(default=1_000_000, ge=0)
    batch_tokens: int = Field(default=2048, ge=1)
    seed: int = 0


class Kept:
    """Streams of the documents that were read first, up to a number of tokens."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.streams: dict[int, Tensor] = {}

    def keep(self, fresh: dict[int, Tensor]) -> None:
        for i, x in fresh.items():
            if len(x) <= self.left:
                self.streams[i] = x
                self.left -= len(x)


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


def read_batches(
    reader: Reader,
    documents: Sequence[Document],
    special: Collection[int],
    config: StreamConfig,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Tensor]:
    """Batches of ``batch_tokens`` streams without end: the documents again and again, in another order each time.

    ``progress`` is called with the number of tokens in every batch that is handed out.
    """

    def chunks() -> Iterator[Tensor]:
        order, kept = random.Random(config.seed), Kept(config.kept_tokens)
        while True:
            shuffled = order.sample(range(len(documents)), len(documents))
            for start in range(0, len(shuffled), config.documents_per_read):
                chunk = shuffled[start : start + config.documents_per_read]
                missing = [i for i in chunk if i not in kept.streams]
                read = read_tokens(reader, [documents[i] for i in missing], special, config.documents_per_read)
                fresh = {i: x[mask] for i, (_, x, mask) in zip(missing, read, strict=True)}
                yield torch.cat([kept.streams[i] if i in kept.streams else fresh[i] for i in chunk])
                kept.keep(fresh)

    for batch in mixing_buffer(config.buffer_tokens, config.batch_tokens, chunks()):
        progress(len(batch))
        yield batch
