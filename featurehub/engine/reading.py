"""What was read at one hook point: activations, packed, kept by request until they are fetched; captures beside them.

1. The streams of a step's tokens that somebody reads are put aside.
2. Those of several steps are encoded together, when there are enough of them or when they are fetched: a product with
   all of W_enc costs about as much for one token as for a hundred. What comes of it is one array of 32-bit words with a
   row for each token, which leaves for the host at once; nobody waits for it until it is fetched.
3. A request's tokens are put side by side there, so that its report joins a few slices.
4. A request's tokens come in pieces, some of them again after a preemption: a position counts once.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.activations import NO_LATENT, ActivationBlock, ActivationTotals
from featurehub.edits import Read
from featurehub.engine.bank import Bank
from featurehub.engine.captures import Captures, Wanted
from featurehub.engine.readers import AskedTokens, Reader, Readers, ReadersBySae, taken
from featurehub.engine.sheet import HostCopy
from featurehub.engine.totals import Counting, KeptTotals
from featurehub.report import Wire

__all__ = ["Activations", "Readings", "add_readings"]

BYTES_KEPT = 1 << 28
TOKENS_TOGETHER = 256

Words = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Piece:
    """Activations of tokens that were encoded together, of all requests that read an SAE.

    Attributes:
        sae: Id of the SAE.
        copied: [tokens, 1 + 2 · top_k + columns] 32-bit words, on their way to the host: a token's id, its strongest
            latents with ``NO_LATENT`` for those that are not active, their activations, and those of ``columns``.
        order: [tokens] the tokens in order of their requests.
        positions: [tokens] int32, in that order, their positions in the requests.
        top_k: How many of the strongest latents there are.
        columns: The latents that some request names.
        holders: Number of spans that have been neither fetched nor dropped.
        words: The words in that order, once somebody has fetched a span.
    """

    sae: str
    copied: HostCopy
    order: Ints
    positions: Words
    top_k: int
    columns: Sequence[int]
    holders: int = 0
    words: Words | None = None

    def part(self, span: slice, read: Read) -> Words:
        """[tokens, 1 + top_k + top_k + latents] of what ``read`` asks for, for a span of the order."""
        if self.words is None:
            self.words = self.copied.array()[self.order]
        words, k, most = self.words[span], min(read.top_k, self.top_k), self.top_k
        if k == most and not self.columns:
            return words
        named = [1 + 2 * most + self.columns.index(latent) for latent in read.latents]
        return words[:, [0, *range(1, 1 + k), *range(1 + most, 1 + most + k), *named]]


class ReadSpan(NamedTuple):
    """A request's tokens in a piece: a span of its order."""

    reader: Reader
    piece: Piece
    span: slice


class Kept(NamedTuple):
    """What was kept under a key, by the numbers of its requests, and whether anything of it was dropped."""

    blocks: Mapping[int, Sequence[ActivationBlock]]
    totals: Mapping[int, Sequence[ActivationTotals]]
    lost: bool


class Activations:
    """Activations by request key and SAE.

    Beyond ``BYTES_KEPT`` bytes, those of the oldest key are dropped and the key is marked as lost.

    Attributes:
        bank: The SAEs of the hook point; None without any.
        unread: By SAE, fewer than ``TOKENS_TOGETHER`` tokens that are not encoded yet, and their streams.
        shares: By key, its spans of the pieces.
        totals: Totals over tokens, by key.
        lost: Keys whose activations were dropped, at most 4096.
        bytes: Size of all pieces.
    """

    def __init__(self, bank: Bank | None) -> None:
        self.bank = bank
        self.unread: dict[str, list[tuple[AskedTokens, Tensor]]] = {}
        self.shares: OrderedDict[str, list[ReadSpan]] = OrderedDict()
        self.totals = KeptTotals()
        self.lost: OrderedDict[str, bool] = OrderedDict()
        self.bytes = 0

    def add(self, asked: AskedTokens, x: Tensor) -> None:
        """Puts tokens aside: x [tokens, d_model] float32, which nobody writes to any more."""
        unread = self.unread.setdefault(asked.sae, [])
        unread.append((asked, x))
        if sum(x.shape[0] for _, x in unread) >= TOKENS_TOGETHER:
            self.encode(asked.sae)

    def encode(self, sae: str) -> None:
        """Encodes everything that was put aside for an SAE into one piece, and gives every request its span."""
        asked, streams = zip(*self.unread.pop(sae), strict=True)
        readers = Readers(*map(np.concatenate, zip(*(each.readers for each in asked), strict=True)))
        order, positions, spans = readers.in_order()
        reads = [read for reader, _ in spans for read in reader.reads[sae]]
        named = sorted({latent for read in reads for latent in read.latents})
        top_k = max(read.top_k for read in reads)
        x, token_ids = torch.cat(streams), torch.cat([each.token_ids for each in asked])
        counting = [each for reader, span in spans for each in self.counting(reader, sae, order[span], positions[span])]
        words, top_k = self.read(sae, x, token_ids, top_k, named, counting)
        piece = Piece(sae, HostCopy(words), order, positions, top_k, named, len(spans))
        self.bytes += words.nbytes
        for reader, span in spans:
            self.keep(reader.key, ReadSpan(reader, piece, span))
        self.bound()

    def counting(self, reader: Reader, sae: str, rows: Ints, positions: Words) -> Iterator[Counting]:
        """Which of a request's tokens count in its totals, given their rows in the batch and their positions."""
        assert self.bank is not None
        if reader.key in self.lost or not any(read.totals for read in reader.reads[sae]):
            return
        own = self.bank.slices[sae]
        for totals in self.totals.of(reader, sae, own.stop - own.start, self.bank.W_enc.device):
            yield Counting(totals, np.sort(rows[totals.choose(positions)]))

    def read(
        self, sae: str, x: Tensor, token_ids: Tensor, top_k: int, named: Sequence[int], counting: Sequence[Counting]
    ) -> tuple[Tensor, int]:
        """The words of a piece, and how many of the strongest latents it has: no more than the SAE."""
        assert self.bank is not None

        def see(start: int, a: Tensor) -> None:
            for each in counting:
                each.see(start, a)

        latents, values, own = self.bank.read(x, sae, top_k, named, see if counting else None)
        active = torch.where(values > 0, latents.int(), NO_LATENT)
        columns = (token_ids.int()[:, None], active, values.view(torch.int32), own.view(torch.int32))
        return torch.cat(columns, dim=1), latents.shape[1]

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
                self.bytes -= share.piece.copied.bytes

    def bound(self) -> None:
        while self.bytes + self.totals.bytes > BYTES_KEPT and self.shares:
            key, dropped = self.shares.popitem(last=False)
            self.let_go(dropped)
            self.totals.take(key)
            self.lost[key] = True
            if len(self.lost) > 4096:
                self.lost.popitem(last=False)

    def take(self, key: str) -> Kept:
        """Every token of a key's requests once, in order, a block for each read; and their totals."""
        for sae in list(self.unread):
            self.encode(sae)
        shares, lost = self.shares.pop(key, ()), self.lost.pop(key, False)
        self.let_go(shares)
        together: dict[tuple[int, str], list[ReadSpan]] = {}
        for share in shares:
            together.setdefault((share.reader.request, share.piece.sae), []).append(share)
        blocks: dict[int, list[ActivationBlock]] = {}
        for (request, sae), own in together.items():
            blocks.setdefault(request, []).extend(packed(own, sae, read) for read in own[0].reader.reads[sae])
        totals = {number: [each.packed() for each in own] for number, own in self.totals.take(key).items()}
        return Kept(blocks, totals, lost)


def add_readings(key: str, wires: Sequence[Wire], kept: Iterable[Activations]) -> None:
    """Adds to a key's reports what their requests read at each hook point: to the first of each request."""
    first = {wire["requests"][0]: wire for wire in reversed(wires) if wire.get("requests")}
    taken = [each.take(key) for each in kept]
    for request, wire in first.items():
        blocks = [block.model_dump() for each in taken for block in each.blocks.get(request, ())]
        totals = [own.model_dump() for each in taken for own in each.totals.get(request, ())]
        if blocks:
            wire["activations"] = {"blocks": blocks, "totals": totals}
    if any(each.lost for each in taken):
        for wire in wires:
            wire["reads_lost"] = True


def packed(shares: Sequence[ReadSpan], sae: str, read: Read) -> ActivationBlock:
    """What was read of one request, in order of positions; of a position computed again, the last values."""
    positions = np.concatenate([share.piece.positions[share.span] for share in shares])
    words = np.concatenate([share.piece.part(share.span, read) for share in shares])
    if not (positions[1:] > positions[:-1]).all():
        positions, first = np.unique(positions[::-1], return_index=True)
        words = words[len(words) - 1 - first]
    top_k = (words.shape[1] - 1 - (named := len(read.latents))) // 2
    latents = words[:, 1 : 1 + top_k]
    if named:
        latents = np.hstack([latents, np.broadcast_to(np.array(read.latents, np.int32), (len(words), named))])
    return ActivationBlock.pack(sae, positions, words[:, 0], latents, words[:, 1 + top_k :].view(np.float32))


class Readings:
    """What is read at one hook point: each step says what to read, and it is kept until it is fetched.

    Attributes:
        captures: The streams that are kept.
        activations: The activations that are kept.
        capturing: The requests whose streams this step captures.
        asked: The tokens of which this step reads activations, SAE by SAE.
    """

    def __init__(self, bank: Bank | None) -> None:
        self.captures = Captures()
        self.activations = Activations(bank)
        self.capturing: Sequence[Wanted] = ()
        self.asked: Sequence[AskedTokens] = ()

    def ask(self, capturing: Sequence[Wanted], readers: ReadersBySae, token_ids: Tensor) -> None:
        """Says what this step reads. ``token_ids`` ([tokens] of the batch) may be written to afterwards."""
        self.capturing = capturing
        self.asked = [AskedTokens.of(sae, *each, token_ids) for sae, each in readers.items()]

    def ask_again(self, asked: Sequence[AskedTokens], token_ids: Tensor) -> None:
        """Says that this step reads the tokens that follow these, at the same places of its batch."""
        self.asked = [each.following(token_ids) for each in asked]

    def idle(self) -> None:
        """Reads nothing."""
        self.capturing, self.asked = (), ()

    def keep(self, x: Tensor) -> None:
        """Keeps what the step reads of ``x`` ([tokens, d_model], float32), of which captures are views."""
        for wanted in self.capturing:
            self.captures.add(wanted, x)
        for each in self.asked:
            self.activations.add(each, taken(x, each.at))
