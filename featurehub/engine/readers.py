"""Who reads activations in a step, and of which tokens of its batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from featurehub.edits import Read
from featurehub.engine.sheet import Place, place

__all__ = ["AskedTokens", "Reader", "Readers", "ReadersBySae", "taken"]

Words = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A request that reads.

    Attributes:
        key: Key of the report that the request writes into; several requests may share one.
        request: The request's own number.
        reads: By SAE, what it reads there.
    """

    key: str
    request: int
    reads: Mapping[str, Sequence[Read]]


class Readers(NamedTuple):
    """Requests that read an SAE, in batch order; or those of several steps, step by step.

    Attributes:
        readers: [requests] a ``Reader`` for each.
        requests: [requests] their own numbers.
        tokens: [requests] number of their tokens in the step.
        positions: [requests] position of the first of these tokens in the request.
    """

    readers: NDArray[np.object_]
    requests: Ints
    tokens: Ints
    positions: Ints

    def following(self) -> "Readers":
        """The next tokens of each request, as many as these."""
        return self._replace(positions=self.positions + self.tokens)

    def in_order(self) -> tuple[Ints, Words, list[tuple[Reader, slice]]]:
        """Sorts the tokens by their requests.

        Returns:
            The tokens in that order; in that order, their positions; and, of each request, its span of them.
        """
        whose = np.repeat(np.arange(len(self.tokens)), self.tokens)
        inside = np.arange(len(whose)) - np.repeat(self.tokens.cumsum() - self.tokens, self.tokens)
        requests = self.requests[whose]
        order = np.argsort(requests, kind="stable")
        ordered, whose, inside = requests[order], whose[order], inside[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        stops = np.append(starts[1:], len(order))
        readers = self.readers[whose[starts]].tolist()
        spans = map(slice, starts.tolist(), stops.tolist())
        return order, (self.positions[whose] + inside).astype(np.int32), list(zip(readers, spans, strict=True))


ReadersBySae = Mapping[str, tuple[Readers, Ints]]
"""By SAE, who reads it in a step, and where their tokens stand in the batch ([tokens])."""


class AskedTokens(NamedTuple):
    """The tokens of a step of which somebody reads an SAE.

    Attributes:
        sae: Id of the SAE.
        readers: Whose they are.
        at: Where they stand in the batch, on its device.
        token_ids: [tokens] a copy.
    """

    sae: str
    readers: Readers
    at: Place
    token_ids: Tensor

    @classmethod
    def of(cls, sae: str, readers: Readers, indices: Ints, token_ids: Tensor) -> "AskedTokens":
        """The readers' tokens, which stand at these indices of a batch with these ids ([tokens])."""
        at = place(indices, token_ids.device)
        return cls(sae, readers, at, taken(token_ids, at))

    def following(self, token_ids: Tensor) -> "AskedTokens":
        """The same requests' next tokens, at the same places of a batch with these ids ([tokens])."""
        return self._replace(readers=self.readers.following(), token_ids=taken(token_ids, self.at))


def taken(rows: Tensor, at: Place) -> Tensor:
    """A copy of rows of a tensor."""
    return rows[at].clone() if isinstance(at, slice) else rows[at]
