"""What was read at one hook point: streams and activations, kept by request until they are fetched.

1. The streams of a step's tokens that somebody reads are put aside.
2. Those of several steps are encoded together, when there are enough of them or when they are fetched: a product with
   all of W_enc costs about as much for one token as for a hundred.
3. Chunked prefill brings a request's tokens in pieces, and a preempted request computes some of them again: pieces
   carry their positions, and a position counts once.
"""

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.activations import NO_LATENT, ActivationBlock, PackedActivations
from featurehub.edits import Read
from featurehub.engine.bank import Bank
from featurehub.engine.sheet import send
from featurehub.errors import SteeringLost

__all__ = ["Activations", "Captures", "Readers", "Readings", "Wanted"]

BYTES_KEPT = 1 << 28
CAPTURES_KEPT = 1 << 30
TOKENS_TOGETHER = 256


class Wanted(NamedTuple):
    """A request's tokens in one step.

    Attributes:
        key: Key of the report that the request writes into; several requests may share one.
        start: Batch index of the first token.
        stop: Batch index after the last one.
        position: Position of the first token in the request.
        request: The request's own number; None for a request that is read in this step only.
    """

    key: str
    start: int
    stop: int
    position: int
    request: int | None = None


Readers = Mapping[str, Sequence[tuple[Wanted, Read]]]
"""By SAE, the requests that read it."""


class Captures:
    """Streams by request key.

    Beyond ``CAPTURES_KEPT`` bytes, those of the oldest key are dropped; those of the newest key are always kept.
    """

    def __init__(self) -> None:
        self.pieces: OrderedDict[str, list[tuple[int, Tensor]]] = OrderedDict()
        self.bytes = 0

    def add(self, wanted: Wanted, x: Tensor) -> None:
        """Keeps a request's tokens of the batch's stream ``x`` ([tokens, d_model], float32), as a view of it."""
        piece = x[wanted.start : wanted.stop]
        self.pieces.setdefault(wanted.key, []).append((wanted.position, piece))
        self.bytes += piece.nbytes
        while self.bytes > CAPTURES_KEPT and len(self.pieces) > 1:
            self.drop(next(iter(self.pieces)))

    def drop(self, key: str) -> list[tuple[int, Tensor]]:
        """Gives up the pieces of a key and returns them. Raises KeyError."""
        pieces = self.pieces.pop(key)
        self.bytes -= sum(x.nbytes for _, x in pieces)
        return pieces

    def take(self, key: str) -> Tensor:
        """Takes the stream of a request.

        Returns:
            [tokens, d_model] float32 on the CPU, every position once.

        Raises:
            KeyError: Nothing is kept under this key.
            SteeringLost: The first tokens are missing, since their streams were dropped while the request ran.
        """
        pieces = self.drop(key)
        tokens = max(position + len(x) for position, x in pieces)
        stream, filled = torch.empty(tokens, pieces[0][1].shape[1]), torch.zeros(tokens, dtype=torch.bool)
        for position, x in pieces:
            stream[position : position + len(x)] = x
            filled[position : position + len(x)] = True
        if not filled.all():
            raise SteeringLost(
                f"the streams of {int((~filled).sum())} of {tokens} tokens were dropped; read fewer at once"
            )
        return stream


class PendingTokens(NamedTuple):
    """A step's tokens that are not encoded yet, reader by reader: x [tokens, d_model], token_ids [tokens]."""

    readers: Sequence[tuple[Wanted, Read]]
    x: Tensor
    token_ids: Tensor


@dataclass(slots=True)
class Piece:
    """Activations of tokens that were encoded together, of all requests that read an SAE.

    Attributes:
        token_ids: [tokens]
        latents: [tokens, top_k] the strongest latents.
        values: [tokens, top_k] their activations.
        named: [tokens, columns] activations of the latents ``columns``.
        columns: The latents that some request names.
        holders: Number of spans that have been neither fetched nor dropped.
        copied: The four tensors as arrays on the host, once somebody has fetched a span.
    """

    token_ids: Tensor
    latents: Tensor
    values: Tensor
    named: Tensor
    columns: Sequence[int]
    holders: int
    copied: tuple[NDArray[Any], ...] = ()

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.token_ids, self.latents, self.values, self.named))

    def host(self) -> tuple[NDArray[Any], ...]:
        """``token_ids``, ``latents``, ``values`` and ``named`` as arrays; all spans share one copy."""
        if not self.copied:
            columns = (self.token_ids, self.latents, self.values, self.named)
            self.copied = tuple(column.cpu().numpy() for column in columns)
        return self.copied


class ReadSpan(NamedTuple):
    """A request's consecutive tokens in a piece: ``length`` of them from ``offset`` on, the first at ``position``."""

    request: Hashable
    read: Read
    piece: Piece
    offset: int
    length: int
    position: int


class Activations:
    """Activations by request key and SAE.

    Beyond ``BYTES_KEPT`` bytes, those of the oldest key are dropped and the key is marked as lost.

    Attributes:
        bank: The SAEs of the hook point; None without any.
        unread: By SAE, fewer than ``TOKENS_TOGETHER`` tokens that are not encoded yet.
        shares: By key, its spans of the pieces.
        lost: Keys whose activations were dropped, at most 4096.
        bytes: Size of all pieces.
    """

    def __init__(self, bank: Bank | None) -> None:
        self.bank = bank
        self.unread: dict[str, list[PendingTokens]] = {}
        self.shares: OrderedDict[str, list[ReadSpan]] = OrderedDict()
        self.lost: OrderedDict[str, None] = OrderedDict()
        self.bytes = 0

    def add(self, sae: str, readers: Sequence[tuple[Wanted, Read]], x: Tensor, token_ids: Tensor) -> None:
        """Puts aside the readers' tokens of the batch: x [tokens, d_model] float32, token_ids [tokens]."""
        own = [token for wanted, _ in readers for token in range(wanted.start, wanted.stop)]
        at = send(np.array(own, np.int64), x.device)
        unread = self.unread.setdefault(sae, [])
        unread.append(PendingTokens(readers, x[at], token_ids[at]))
        if sum(len(each.x) for each in unread) >= TOKENS_TOGETHER:
            self.encode(sae)

    def encode(self, sae: str) -> None:
        """Encodes everything that was put aside for an SAE into one piece."""
        assert self.bank is not None
        unread = self.unread.pop(sae)
        readers = [reader for each in unread for reader in each.readers]
        columns = sorted({latent for _, read in readers for latent in read.latents})
        top_k = max(read.top_k for _, read in readers)
        latents, values, named = self.bank.read(torch.cat([each.x for each in unread]), sae, top_k, columns)
        token_ids = torch.cat([each.token_ids for each in unread])
        piece = Piece(token_ids, latents.int(), values, named, columns, len(readers))
        self.bytes += piece.bytes
        offset = 0
        for wanted, read in readers:
            length = wanted.stop - wanted.start
            request = object() if wanted.request is None else wanted.request
            self.keep(wanted.key, ReadSpan(request, read, piece, offset, length, wanted.position))
            offset += length
        self.bound()

    def keep(self, key: str, share: ReadSpan) -> None:
        if key in self.lost:
            self.let_go([share])
        else:
            self.shares.setdefault(key, []).append(share)

    def let_go(self, shares: Sequence[ReadSpan]) -> None:
        """Gives up shares; a piece of which no share is left no longer counts in ``bytes``."""
        for share in shares:
            share.piece.holders -= 1
            if not share.piece.holders:
                self.bytes -= share.piece.bytes

    def bound(self) -> None:
        while self.bytes > BYTES_KEPT and self.shares:
            key, dropped = self.shares.popitem(last=False)
            self.let_go(dropped)
            self.lost[key] = None
            if len(self.lost) > 4096:
                self.lost.popitem(last=False)

    def take(self, key: str) -> tuple[PackedActivations | None, bool]:
        """Every token of a key's requests once, in order, or None if nothing is kept; and whether any were dropped."""
        for sae in list(self.unread):
            self.encode(sae)
        lost = key in self.lost
        self.lost.pop(key, None)
        shares = self.shares.pop(key, None)
        if shares is None:
            return None, lost
        self.let_go(shares)
        together: dict[tuple[Hashable, Read], list[ReadSpan]] = {}
        for share in shares:
            together.setdefault((share.request, share.read), []).append(share)
        return PackedActivations(tuple(map(packed, together.values()))), lost


def packed(shares: Sequence[ReadSpan]) -> ActivationBlock:
    """All shares of one request and one SAE, in order of positions; of a position computed again, the last values."""
    positions = np.array([share.position + i for share in shares for i in range(share.length)])
    parts = [tokens(list(own)) for _, own in itertools.groupby(shares, lambda share: id(share.piece))]
    token_ids, latents, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    ordered, first = np.unique(positions[::-1], return_index=True)
    last = len(positions) - 1 - first
    return ActivationBlock.pack(shares[0].read.sae, ordered, token_ids[last], latents[last], values[last])


def tokens(shares: Sequence[ReadSpan]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Token ids [tokens] of spans of one piece; latents and values [tokens, columns] that their request reads.

    These are the strongest latents where they are active, ``NO_LATENT`` where not, and the named ones everywhere.
    """
    read, piece = shares[0].read, shares[0].piece
    token_ids, latents, values, named = piece.host()
    own = np.array([share.offset + i for share in shares for i in range(share.length)])
    columns = [piece.columns.index(latent) for latent in read.latents]
    strongest = values[own, : read.top_k]
    active = np.where(strongest > 0, latents[own, : read.top_k], np.int32(NO_LATENT))
    asked = np.broadcast_to(np.array(read.latents, np.int32), (len(own), len(columns)))
    return token_ids[own], np.hstack([active, asked]), np.hstack([strongest, named[own][:, columns]])


class Readings:
    """What is read at one hook point: each step says what to read, and it is kept until it is fetched.

    Attributes:
        captures: The streams that are kept.
        activations: The activations that are kept.
        capturing: The requests whose streams this step captures.
        readers: The requests whose activations this step reads, by SAE.
        token_ids: [tokens] of the step's batch.
    """

    def __init__(self, bank: Bank | None) -> None:
        self.captures = Captures()
        self.activations = Activations(bank)
        self.capturing: Sequence[Wanted] = ()
        self.readers: Readers = {}
        self.token_ids = torch.empty(0)

    def ask(self, capturing: Sequence[Wanted], readers: Readers, token_ids: Tensor) -> None:
        """Says what this step reads. ``token_ids`` ([tokens] of the batch) must not be written to any more."""
        self.capturing, self.readers, self.token_ids = capturing, readers, token_ids

    def idle(self) -> None:
        """Reads nothing in this step."""
        self.capturing, self.readers = (), {}

    def keep(self, x: Tensor) -> None:
        """Keeps what the step reads of ``x`` ([tokens, d_model], float32), of which captures are views."""
        for wanted in self.capturing:
            self.captures.add(wanted, x)
        for sae, readers in self.readers.items():
            self.activations.add(sae, readers, x, self.token_ids)
