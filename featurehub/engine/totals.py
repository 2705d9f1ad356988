"""What the latents of an SAE did over stretches of a request's tokens.

    count_i = #{t : a_ti > 0}        sum_i = Σ_t a_ti        max_i = max_t a_ti

The sums are kept where the model runs, three numbers for each latent and read, and nothing else of the activations
leaves it. Tokens come in pieces, and after a preemption some come again: a position counts once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featurehub.activations import ActivationTotals
from featurehub.edits import Read
from featurehub.engine.readers import Reader
from featurehub.engine.sheet import place

__all__ = ["Counting", "KeptTotals", "Totals"]

Ints = NDArray[np.int64]


class Totals:
    """The totals of one request's read.

    Args:
        read: Says over which positions.
        d_sae: Number of latents of its SAE.
        device: Where the model runs.

    Attributes:
        numbers: [3, d_sae] float32: counts, sums and maxima.
        tokens: Number of the tokens that were counted.
        reached: The position after the last token that came.
    """

    def __init__(self, read: Read, d_sae: int, device: torch.device) -> None:
        self.read = read
        # An ordinary tensor, although a forward pass may make it: what comes last is counted when the report is fetched
        # outside vLLM's inference mode, where no tensor of that mode may be written to.
        with torch.inference_mode(False):
            self.numbers = torch.zeros(3, d_sae, device=device)
        self.tokens = self.reached = 0

    def choose(self, positions: NDArray[np.int32]) -> Ints:
        """Which tokens are to be counted of those that have come, by their positions: indices, ascending."""
        fresh, first = np.unique(positions, return_index=True)
        wanted = np.zeros(len(fresh), bool)
        for start, stop in self.read.totals:
            wanted |= (start <= fresh) & (fresh < stop)
        chosen = np.sort(first[wanted & (fresh >= self.reached)])
        self.reached = max(self.reached, int(fresh[-1]) + 1)
        self.tokens += len(chosen)
        return chosen

    def add(self, a: Tensor) -> None:
        """Counts the activations of tokens: [tokens, d_sae], at least one token."""
        self.numbers[0] += (a > 0).sum(0)
        self.numbers[1] += a.sum(0)
        torch.maximum(self.numbers[2], a.amax(0), out=self.numbers[2])

    def packed(self) -> ActivationTotals:
        """The totals of the latents that were active; waits for the device."""
        counts, sums, maxima = self.numbers.cpu().numpy()
        active = np.flatnonzero(counts)
        ints = {"latents": active, "counts": counts[active]}
        return ActivationTotals(
            sae=self.read.sae,
            tokens=self.tokens,
            **{name: values.astype("<i4").tobytes() for name, values in ints.items()},
            sums=sums[active].astype("<f4").tobytes(),
            maxima=maxima[active].astype("<f4").tobytes(),
        )


class Counting(NamedTuple):
    """Tokens of a batch that count in some totals.

    Attributes:
        totals: The totals.
        rows: [tokens] their indices in the batch, ascending.
    """

    totals: Totals
    rows: Ints

    def see(self, start: int, a: Tensor) -> None:
        """Counts those of them that lie in a chunk of the batch: ``a`` [tokens, d_sae], from index ``start`` on."""
        first, last = np.searchsorted(self.rows, (start, start + len(a)))
        if first < last:
            self.totals.add(a[place(self.rows[first:last] - start, a.device)])


class KeptTotals:
    """Totals by report key, until they are taken or dropped.

    Attributes:
        kept: By key; by the request's own number, the SAE and the read's index among its reads there.
        bytes: Size of all.
    """

    def __init__(self) -> None:
        self.kept: dict[str, dict[tuple[int, str, int], Totals]] = {}
        self.bytes = 0

    def of(self, reader: Reader, sae: str, d_sae: int, device: torch.device) -> Sequence[Totals]:
        """The totals that a request asked for of an SAE; blank ones where it comes for the first time."""
        asked = [(at, read) for at, read in enumerate(reader.reads[sae]) if read.totals]
        own = self.kept.setdefault(reader.key, {}) if asked else {}
        for at, read in asked:
            if (reader.request, sae, at) not in own:
                own[reader.request, sae, at] = made = Totals(read, d_sae, device)
                self.bytes += made.numbers.nbytes
        return [own[reader.request, sae, at] for at, _ in asked]

    def take(self, key: str) -> Mapping[int, Sequence[Totals]]:
        """All totals of a key by the numbers of its requests, which are then no longer kept."""
        taken: dict[int, list[Totals]] = {}
        for (request, _, _), own in self.kept.pop(key, {}).items():
            self.bytes -= own.numbers.nbytes
            taken.setdefault(request, []).append(own)
        return taken
