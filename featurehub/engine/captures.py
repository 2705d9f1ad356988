"""Streams that are captured at one hook point, kept by request until they are fetched.

Chunked prefill brings a request's tokens in pieces, and a preempted request computes some of them again: pieces carry
their positions, and a position counts once.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.edits import Steering
from featurehub.engine.reports import REPORTS_KEPT
from featurehub.errors import SteeringLost

__all__ = ["CAPTURES_KEPT", "Captures", "Wanted", "groups_of"]

CAPTURES_KEPT = 1 << 30


class Wanted(NamedTuple):
    """A request's tokens in one step.

    Attributes:
        key: Key of the report that the request writes into; several requests may share one.
        start: Batch index of the first token.
        stop: Batch index after the last one.
        position: Position of the first token in the request.
    """

    key: str
    start: int
    stop: int
    position: int


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


def groups_of(asked: Sequence[tuple[list[int], Steering]], tokens: int) -> Iterator[list[tuple[list[int], Steering]]]:
    """Groups of consecutive documents: at most ``tokens`` tokens, or one longer document, and as many as reports."""
    group: list[tuple[list[int], Steering]] = []
    room = tokens
    for document, steering in asked:
        if group and (len(document) > room or len(group) == REPORTS_KEPT):
            yield group
            group, room = [], tokens
        group.append((document, steering))
        room -= len(document)
    if group:
        yield group
