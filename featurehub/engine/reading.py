"""What was read at one hook point: streams and activations, kept by request until they are fetched.

1. A step's streams of the tokens that are read are put aside.
2. Those of several steps are encoded together, when there are enough of them or when somebody asks: a product with all
   of W_enc costs about as much for one token as for a hundred.
3. Chunked prefill brings a request's tokens in pieces, and a preempted request computes some of them again: pieces
   carry their positions, and a position counts once.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurehub.edits import Read
from featurehub.engine.bank import Bank
from featurehub.report import TokenFeatures

__all__ = ["Activations", "Captures", "Readers", "Readings", "Wanted"]

BYTES_KEPT = 1 << 28
TOKENS_TOGETHER = 256
LATENTS_AT_ONCE = 1 << 24


class Wanted(NamedTuple):
    """A request's tokens in one step: batch indices ``start`` to ``stop``, the first at ``position``."""

    key: str
    start: int
    stop: int
    position: int


Readers = Mapping[str, Sequence[tuple[Wanted, Read]]]
"""By SAE, the requests that read it."""


class Captures:
    """Streams by request key."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[tuple[int, Tensor]]] = {}

    def add(self, wanted: Wanted, x: Tensor) -> None:
        self.pieces.setdefault(wanted.key, []).append((wanted.position, x[wanted.start : wanted.stop]))

    def take(self, key: str) -> Tensor:
        """[tokens, d_model], float32, every position once. Raises KeyError."""
        pieces = self.pieces.pop(key)
        tokens = max(position + len(x) for position, x in pieces)
        stream = torch.empty(tokens, pieces[0][1].shape[1])
        for position, x in pieces:
            stream[position : position + len(x)] = x
        return stream


class Unread(NamedTuple):
    """A step's tokens that are not encoded yet, of all readers: x [tokens, d_model], float32; token_ids [tokens]"""

    readers: Sequence[tuple[Wanted, Read]]
    x: Tensor
    token_ids: Tensor


@dataclass(slots=True)
class Piece:
    """Activations of tokens that were encoded together, of all requests that read an SAE.

    token_ids: [tokens];  latents, values: [tokens, top_k];  named: [tokens, columns], of the latents ``columns``
    holders:   requests that have not fetched or lost their share yet
    """

    token_ids: Tensor
    latents: Tensor
    values: Tensor
    named: Tensor
    columns: Sequence[int]
    holders: int

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.token_ids, self.latents, self.values, self.named))


class Share(NamedTuple):
    """A request's consecutive tokens in a piece: ``length`` of them from ``offset`` on, the first at ``position``."""

    read: Read
    piece: Piece
    offset: int
    length: int
    position: int


class Activations:
    """Activations by request key and SAE. Beyond ``BYTES_KEPT`` the oldest request's are dropped and marked as lost.

    unread: by SAE, less than ``TOKENS_TOGETHER`` tokens
    """

    def __init__(self, bank: Bank | None) -> None:
        self.bank = bank
        self.unread: dict[str, list[Unread]] = {}
        self.shares: OrderedDict[str, list[Share]] = OrderedDict()
        self.lost: OrderedDict[str, None] = OrderedDict()
        self.bytes = 0

    def add(self, sae: str, readers: Sequence[tuple[Wanted, Read]], x: Tensor, token_ids: Tensor) -> None:
        """Of the batch: x [tokens, d_model], float32, and token_ids [tokens]"""
        at = torch.from_numpy(np.concatenate([np.arange(wanted.start, wanted.stop) for wanted, _ in readers]))
        at = at.to(x.device)
        unread = self.unread.setdefault(sae, [])
        unread.append(Unread(readers, x[at], token_ids[at]))
        if sum(len(each.x) for each in unread) >= TOKENS_TOGETHER:
            self.encode(sae)

    def encode(self, sae: str) -> None:
        """All that was put aside for an SAE, into one piece."""
        assert self.bank is not None
        unread = self.unread.pop(sae)
        readers = [reader for each in unread for reader in each.readers]
        columns = sorted({latent for _, read in readers for latent in read.latents})
        top_k = max(read.top_k for _, read in readers)
        latents, values, named = encoded(torch.cat([each.x for each in unread]), self.bank, sae, top_k, columns)
        token_ids = torch.cat([each.token_ids for each in unread])
        piece = Piece(token_ids, latents.int(), values, named, columns, len(readers))
        self.bytes += piece.bytes
        offset = 0
        for wanted, read in readers:
            length = wanted.stop - wanted.start
            self.keep(wanted.key, Share(read, piece, offset, length, wanted.position))
            offset += length
        self.bound()

    def keep(self, key: str, share: Share) -> None:
        if key in self.lost:
            self.let_go([share])
        else:
            self.shares.setdefault(key, []).append(share)

    def let_go(self, shares: Sequence[Share]) -> None:
        """A piece is gone when nobody holds a share of it."""
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

    def take(self, key: str) -> tuple[list[TokenFeatures] | None, bool]:
        """Every token once, in order; None where nothing was read. And whether it was lost."""
        for sae in list(self.unread):
            self.encode(sae)
        lost = key in self.lost
        self.lost.pop(key, None)
        shares = self.shares.pop(key, None)
        if shares is None:
            return None, lost
        self.let_go(shares)
        by_token = {(t.position, t.sae): t for share in shares for t in tokens(share)}
        return [by_token[at] for at in sorted(by_token)], lost


def encoded(x: Tensor, bank: Bank, sae: str, top_k: int, named: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The strongest latents (indices and values, [tokens, top_k]) and the named ones ([tokens, named]).

    In chunks, so that the full activations of many tokens never exist at once.
    """
    size = bank.slices[sae].stop - bank.slices[sae].start
    chunks = []
    for part in x.split(max(1, LATENTS_AT_ONCE // size)):
        a = bank.encode(part, sae)
        top = a.topk(min(top_k, size), dim=-1)
        chunks.append((top.indices, top.values, a[:, list(named)]))
    indices, values, own = (torch.cat(column) for column in zip(*chunks, strict=True))
    return indices, values, own


def tokens(share: Share) -> list[TokenFeatures]:
    """The strongest only where they are active at all; named ones always."""
    read, piece, own = share.read, share.piece, slice(share.offset, share.offset + share.length)
    columns = [piece.columns.index(latent) for latent in read.latents]
    strongest = (piece.token_ids[own], piece.latents[own, : read.top_k], piece.values[own, : read.top_k])
    rows = zip(*(t.tolist() for t in (*strongest, piece.named[own][:, columns])), strict=True)
    result = []
    for i, (token, latents, values, named) in enumerate(rows):
        active = [(latent, value) for latent, value in zip(latents, values, strict=True) if value > 0]
        pairs = active + list(zip(read.latents, named, strict=True))
        result.append(
            # Not validated again: there are thousands, and they come from tensors.
            TokenFeatures.model_construct(
                sae=read.sae,
                position=share.position + i,
                token=token,
                latents=tuple(latent for latent, _ in pairs),
                activations=tuple(value for _, value in pairs),
            )
        )
    return result


class Readings:
    """What is read at one hook point: asked for by each step, kept until it is fetched. bank: None without SAEs"""

    def __init__(self, bank: Bank | None) -> None:
        self.captures = Captures()
        self.activations = Activations(bank)
        self.capturing: Sequence[Wanted] = ()
        self.readers: Readers = {}
        self.token_ids = torch.empty(0)

    def ask(self, capturing: Sequence[Wanted], readers: Readers, token_ids: Tensor) -> None:
        """In place of what the step before asked for. token_ids: [tokens] of the batch, not written to any more"""
        self.capturing, self.readers, self.token_ids = capturing, readers, token_ids

    def rest(self) -> None:
        self.capturing, self.readers = (), {}

    def keep(self, x: Tensor) -> None:
        """x: the batch's stream [tokens, d_model], float32, which nobody writes to any more"""
        for wanted in self.capturing:
            self.captures.add(wanted, x)
        for sae, readers in self.readers.items():
            self.activations.add(sae, readers, x, self.token_ids)
