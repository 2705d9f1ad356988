"""Latents that belong together: average linkage on the graph of those that write alike.

1. An edge joins two latents of which one is among the other's nearest by decoder rows; its weight w is their cosine.
   Edges of 0 and less are left out.
2. Each latent begins alone. Two groups are alike by the mean weight over all pairs between them; a pair without an edge
   counts as 0, so that a chain of neighbours does not become one group:

       s(A, B) = Σ_{i in A, j in B} w_ij / (|A| |B|)

3. The two groups that are most alike become one, until none are alike by ``LEAST``, or the two together would have
   more than ``LARGEST`` latents. Among equals, those with the lowest latents go first: the result is always the same.

This is UPGMA (Sokal and Michener 1958) on a sparse graph: its work grows with the edges, and not with the pairs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

__all__ = ["Edges", "communities", "edges_of"]

Edges = Mapping[tuple[int, int], float]
"""Weights by pair of latents, the lower one first."""
LEAST, LARGEST = 0.15, 50
"""Among 1,152 random directions of 576 numbers, the nearest have a cosine of about 0.14."""
BLOCK = 4096


def edges_of(W_dec: np.ndarray, neighbors: Mapping[int, Sequence[int]]) -> Edges:
    """Step 1.

    Args:
        W_dec: [d_sae, d_model] decoder rows.
        neighbors: By latent, those with the most similar decoder rows.
    """
    found = [(min(i, j), max(i, j)) for i, near in neighbors.items() for j in near if j in neighbors]
    pairs = np.unique(np.array(found, dtype=np.int64).reshape(-1, 2), axis=0)
    norms = np.maximum(np.linalg.norm(W_dec, axis=1), 1e-12)
    cosines = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        i, j = pairs[start : start + BLOCK].T
        cosines[start : start + BLOCK] = np.einsum("pd,pd->p", W_dec[i], W_dec[j]) / (norms[i] * norms[j])
    edges = zip(map(tuple, pairs.tolist()), cosines.tolist(), strict=True)
    return {(i, j): weight for (i, j), weight in edges if weight > 0}


def communities(edges: Edges, least: float = LEAST, largest: int = LARGEST) -> list[tuple[int, ...]]:
    """Steps 2 and 3.

    Args:
        edges: The graph.
        least: How alike groups must be to become one, in (0, 1].
        largest: The most latents of a group.

    Returns:
        The groups of two and more, each ascending, by their lowest latent.
    """
    groups = Groups(edges)
    waiting = [(-weight, a, b) for (a, b), weight in edges.items() if weight >= least]
    heapify(waiting)
    while waiting:
        negative, a, b = heappop(waiting)
        # One of them has changed since this was noted; what they are alike by now was noted then.
        if groups.alike(a, b) != -negative or groups.size(a) + groups.size(b) > largest:
            continue
        groups.merge(a, b)
        for other, alike in groups.beside(a):
            if alike >= least:
                heappush(waiting, (-alike, min(a, other), max(a, other)))
    return sorted(tuple(sorted(each)) for each in groups.members.values() if len(each) > 1)


class Groups:
    """Groups of latents, each called by its lowest one.

    Attributes:
        members: The latents of each group.
    """

    def __init__(self, edges: Edges) -> None:
        self.members = {latent: [latent] for pair in edges for latent in pair}
        self._weights: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for (a, b), weight in edges.items():
            self._weights[a][b] = self._weights[b][a] = weight

    def size(self, a: int) -> int:
        """How many latents a group has."""
        return len(self.members[a])

    def alike(self, a: int, b: int) -> float:
        """s(A, B); 0 where one is not a group any more."""
        if a not in self.members or b not in self.members or b not in self._weights[a]:
            return 0.0
        return self._weights[a][b] / (self.size(a) * self.size(b))

    def beside(self, a: int) -> list[tuple[int, float]]:
        """The groups that a group has edges to, and how alike they are."""
        return [(b, self.alike(a, b)) for b in self._weights[a]]

    def merge(self, a: int, b: int) -> None:
        """Makes a group part of another, which has a lower latent."""
        self.members[a] += self.members.pop(b)
        for other, weight in self._weights.pop(b).items():
            del self._weights[other][b]
            if other != a:
                together = self._weights[a].get(other, 0.0) + weight
                self._weights[a][other] = self._weights[other][a] = together
