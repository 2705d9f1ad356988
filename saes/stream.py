"""A trainer's batches: endless, shuffled, in bounded memory, and able to continue where an earlier run ended.

1. The text lies in chunks of documents. Each epoch passes them in an order of its own, drawn from the seed.
2. Chunks fill a buffer until it holds ``buffer_tokens``; then it is shuffled, and half of it is handed out as batches
   before it is filled again, so that neighbours in the text are rarely neighbours in a batch.
3. The state is the buffer, the place in the order of chunks, and the generator: from it, the same batches follow.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.documents import Document
from saes.reader import StreamReader, read_tokens

__all__ = ["Chunks", "DocumentChunks", "Stream", "StreamConfig"]

AT_ONCE = 64
"""Most documents that are read in one call: a chunk may take minutes, and it is to be seen how far it is."""


class Chunks(Protocol):
    """Streams of ordinary tokens, in parts that can be read again and are always the same."""

    def __len__(self) -> int: ...

    def streams(self, chunk: int) -> list[Tensor]:
        """Returns a chunk's stream, document by document: each [tokens, hooks · d_model] in float32."""
        ...


class DocumentChunks:
    """Chunks that are read through the engine whenever they are asked for, for text that is passed once.

    Attributes:
        reader: Reads the stream.
        documents: The text.
        special: Ids of special tokens, which are left out.
        size: Number of documents in a chunk.
        points: Hook points, as in ``StreamReader.capture``.
        progress: Called with the number of ordinary tokens of each document that was read.
    """

    def __init__(
        self,
        reader: StreamReader,
        documents: Sequence[Document],
        special: Collection[int],
        documents_per_chunk: int = 512,
        points: Sequence[HookPoint] = (),
    ) -> None:
        self.reader = reader
        self.documents = documents
        self.special = special
        self.size = documents_per_chunk
        self.points = points
        self.progress: Callable[[int], None] = lambda tokens: None

    def __len__(self) -> int:
        return -(-len(self.documents) // self.size)

    def streams(self, chunk: int) -> list[Tensor]:
        """Reads a chunk: the stream of each document's ordinary tokens, [tokens, points · d_model] in float32."""
        own = self.documents[chunk * self.size : (chunk + 1) * self.size]
        parts: list[Tensor] = []
        for _, x, mask in read_tokens(self.reader, own, self.special, min(self.size, AT_ONCE), self.points):
            parts.append(x[mask].float())
            self.progress(len(parts[-1]))
        return parts


class StreamConfig(Frozen):
    """How a stream mixes tokens into batches.

    Attributes:
        buffer_tokens: Size of the shuffle buffer, at least a batch. The buffer and one chunk are in memory, 4 bytes ·
            d_model per token and hook point, and twice that while the buffer is refilled.
        batch_tokens: Tokens per batch.
        seed: Seed of the order of chunks and of the shuffles.
    """

    buffer_tokens: int = Field(default=65_536, ge=1)
    batch_tokens: int = Field(default=2048, ge=1)
    seed: int = 0


class Stream:
    """An iterator of shuffled batches, [batch_tokens, hooks · d_model], that never ends.

    ``next`` raises InvalidInput if the chunks hold no token.

    Attributes:
        chunks: The text, in chunks.
        config: How it is mixed.
        progress: Called with the number of tokens of every batch.

    Raises:
        InvalidInput: If the buffer is smaller than a batch.
    """

    def __init__(
        self, chunks: Chunks, config: StreamConfig, progress: Callable[[int], None] = lambda tokens: None
    ) -> None:
        if config.buffer_tokens < config.batch_tokens:
            raise InvalidInput(
                f"a buffer of {config.buffer_tokens} tokens does not hold a batch of {config.batch_tokens}",
                param="buffer_tokens",
            )
        self.chunks = chunks
        self.config = config
        self.progress = progress
        self.generator = torch.Generator().manual_seed(config.seed)
        self.buffer = torch.empty(0)
        self.taken, self.left = 0, 0
        self.epoch, self.at = 0, 0

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Tensor:
        if not self.left:
            self.refill()
        batch = self.buffer[self.taken : self.taken + self.config.batch_tokens]
        self.taken += len(batch)
        self.left -= 1
        self.progress(len(batch))
        return batch

    def last(self, vectors: int) -> Tensor:
        """Returns up to so many vectors that no batch has had; text is read for them only if the buffer is empty.

        No batch may follow.
        """
        if self.taken == len(self.buffer):
            self.refill()
        return self.buffer[self.taken : self.taken + vectors]

    def refill(self) -> None:
        """Step 2. ``taken`` tokens of the buffer were handed out already; ``left`` batches are still to come."""
        parts = [self.buffer[self.taken :]] if self.taken < len(self.buffer) else []
        tokens, started = sum(map(len, parts)), self.epoch
        while tokens < self.config.buffer_tokens:
            streams = self.chunks.streams(self.next_chunk())
            parts += streams
            tokens += sum(map(len, streams))
            if not tokens and self.epoch > started + 1:
                raise InvalidInput("the text holds no ordinary token", param="text")
        self.buffer = torch.cat(parts)
        parts.clear()  # they hold the former buffer's memory
        self.buffer = self.buffer[torch.randperm(tokens, generator=self.generator)]
        self.taken, self.left = 0, max(1, (tokens - self.config.buffer_tokens // 2) // self.config.batch_tokens)

    def next_chunk(self) -> int:
        """Step 1: returns the next chunk of the epoch's order."""
        if self.at == len(self.chunks):
            self.epoch, self.at = self.epoch + 1, 0
        order = np.random.default_rng([self.config.seed, self.epoch]).permutation(len(self.chunks))
        chunk = int(order[self.at])
        self.at += 1
        return chunk

    def state(self) -> dict[str, Tensor]:
        """Returns everything that the next batches depend on, apart from the chunks."""
        place = [self.taken, self.left, self.epoch, self.at]
        return {"buffer": self.buffer, "place": torch.tensor(place), "generator": self.generator.get_state()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continues after the batch after which ``state`` was called."""
        self.buffer = state["buffer"]
        self.taken, self.left, self.epoch, self.at = state["place"].tolist()
        self.generator.set_state(state["generator"])
