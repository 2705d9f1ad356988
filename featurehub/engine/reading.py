"""What was read at one hook point: streams and activations, kept by request until they are fetched.

Chunked prefill brings a request's tokens in pieces, and a preempted request computes some of them again: pieces carry
their positions, and a position counts once.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.edits import Read
from featurehub.engine.bank import Bank
from featurehub.engine.report import TokenFeatures

__all__ = ["Activations", "Captures", "Readers", "Readings", "Wanted"]

BYTES_KEPT = 1 << 28
LATENTS_AT_ONCE = 1 << 24


class Wanted(NamedTuple):
    """A request's tokens in one step: batch indices ``start`` to ``stop``, the first at ``position``.

    token_ids: [stop − start]
    """

    key: str
    start: int
    stop: int
    position: int
    token_ids: Tensor


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


class Piece(NamedTuple):
    """Activations of consecutive tokens: latents and values are [tokens, top_k], named [tokens, named]."""

    position: int
    token_ids: Tensor
    latents: Tensor
    values: Tensor
    named: Tensor

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.token_ids, self.latents, self.values, self.named))


class Activations:
    """Activations by request key and SAE. Beyond ``BYTES_KEPT`` the oldest request's are dropped and marked as lost."""

    def __init__(self) -> None:
        self.pieces: OrderedDict[str, list[tuple[Read, Piece]]] = OrderedDict()
        self.lost: OrderedDict[str, None] = OrderedDict()
        self.bytes = 0

    def add(self, readers: Sequence[tuple[Wanted, Read]], x: Tensor, bank: Bank) -> None:
        """Of requests that read the same SAE; x: the batch's stream [tokens, d_model], float32"""
        at = torch.cat([torch.arange(wanted.start, wanted.stop) for wanted, _ in readers]).to(x.device)
        named = sorted({latent for _, read in readers for latent in read.latents})
        top_k = max(read.top_k for _, read in readers)
        everything = encoded(x[at], bank, readers[0][1].sae, top_k, named)
        lengths = [wanted.stop - wanted.start for wanted, _ in readers]
        for (wanted, read), (latents, values, own) in zip(
            readers, zip(*(column.split(lengths) for column in everything), strict=True), strict=True
        ):
            columns = [named.index(latent) for latent in read.latents]
            self.keep(
                wanted.key,
                read,
                Piece(
                    wanted.position,
                    wanted.token_ids.clone(),
                    latents[:, : read.top_k].int(),
                    values[:, : read.top_k].clone(),
                    own[:, columns],
                ),
            )

    def keep(self, key: str, read: Read, piece: Piece) -> None:
        if key in self.lost:
            return
        self.pieces.setdefault(key, []).append((read, piece))
        self.bytes += piece.bytes
        self.bound()

    def bound(self) -> None:
        while self.bytes > BYTES_KEPT and self.pieces:
            key, dropped = self.pieces.popitem(last=False)
            self.bytes -= sum(piece.bytes for _, piece in dropped)
            self.lost[key] = None
            if len(self.lost) > 4096:
                self.lost.popitem(last=False)

    def take(self, key: str) -> tuple[list[TokenFeatures] | None, bool]:
        """Every token once, in order; None where nothing was read. And whether it was lost."""
        lost = key in self.lost
        self.lost.pop(key, None)
        pieces = self.pieces.pop(key, None)
        if pieces is None:
            return None, lost
        self.bytes -= sum(piece.bytes for _, piece in pieces)
        by_token = {(t.position, t.sae): t for read, piece in pieces for t in tokens(read, piece)}
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


def tokens(read: Read, piece: Piece) -> list[TokenFeatures]:
    """The strongest only where they are active at all; named ones always."""
    rows = zip(*(t.tolist() for t in (piece.token_ids, piece.latents, piece.values, piece.named)), strict=True)
    result = []
    for i, (token, latents, values, named) in enumerate(rows):
        active = [(latent, value) for latent, value in zip(latents, values, strict=True) if value > 0]
        pairs = active + list(zip(read.latents, named, strict=True))
        result.append(
            TokenFeatures(
                sae=read.sae,
                position=piece.position + i,
                token=token,
                latents=tuple(latent for latent, _ in pairs),
                activations=tuple(value for _, value in pairs),
            )
        )
    return result


class Readings:
    """What is read at one hook point: asked for by each step, kept until it is fetched."""

    def __init__(self) -> None:
        self.captures = Captures()
        self.activations = Activations()
        self.capturing: Sequence[Wanted] = ()
        self.readers: Readers = {}

    def ask(self, capturing: Sequence[Wanted] = (), readers: Readers | None = None) -> None:
        """In place of what the step before asked for."""
        self.capturing, self.readers = capturing, readers or {}

    def keep(self, x: Tensor, bank: Bank | None) -> None:
        """x: the batch's stream [tokens, d_model], float32, which nobody writes to any more; bank: None without SAEs"""
        for wanted in self.capturing:
            self.captures.add(wanted, x)
        for readers in self.readers.values():
            assert bank is not None
            self.activations.add(readers, x, bank)
