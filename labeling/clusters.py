"""Latents over which one concept may have been split: clusters of decoder rows that point the same way.

1. Each row is divided by its length, so that the product of two is their cosine. Rows of length 0 are left out.
2. Pairs with a cosine of at least c are found, a block of rows at a time.
3. The pairs join latents into components. A cluster of step 4 never reaches beyond one, so each is looked at alone.
4. Within a component, clusters are merged as long as *every* pair in them keeps a cosine of at least c (complete
   linkage: Defays 1977, "An efficient algorithm for a complete link method"). Single linkage would chain latents that
   have little in common.
5. Clusters of two and more are returned, the most alike first.

That features split as dictionaries grow, and that the parts' decoder rows stay alike, is from Bricken et al. 2023,
"Towards Monosemanticity". The result depends on the rows alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from featurehub.errors import InvalidInput

__all__ = ["LARGEST_COMPONENT", "SplitConcept", "find_clusters"]

Rows = NDArray[np.float32]

BLOCK = 1024
"""Rows that are compared with all others at once."""
LARGEST_COMPONENT = 5_000
"""Most latents of a component: their distances take 100 MB."""


class SplitConcept(NamedTuple):
    """Latents whose decoder rows point the same way.

    Attributes:
        latents: Their indices, ascending.
        cosine: Mean cosine of two of their rows.
        least: The smallest.
        length: Length of the sum of their rows, each divided by its own length.
    """

    latents: tuple[int, ...]
    cosine: float
    least: float
    length: float


def find_clusters(rows: Rows, cosine: float) -> list[SplitConcept]:
    """The clusters of decoder rows, the most alike first.

    Args:
        rows: One decoder row per latent: [d_sae, d_model].
        cosine: The smallest cosine of two rows of a cluster, in (0, 1).

    Raises:
        InvalidInput: The cosine is out of bounds, or so small that nearly everything hangs together.
    """
    if not 0.0 < cosine < 1.0:
        raise InvalidInput(f"the cosine is {cosine}; it must lie between 0 and 1", param="cosine")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    clusters = [
        _cluster(latents, units)
        for component in _components(units, cosine)
        for latents in _merged(component, units, cosine)
    ]
    return sorted(clusters, key=lambda each: (-each.cosine, each.latents))


def _components(units: Rows, cosine: float) -> list[NDArray[np.int64]]:
    """The latents of each component of two and more."""
    pairs = [_pairs(units, start, cosine) for start in range(0, len(units), BLOCK)]
    one, other = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(units), len(units)))
    _, of = connected_components(graph, directed=False)
    order = np.argsort(of, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _pairs(units: Rows, start: int, cosine: float) -> NDArray[np.int64]:
    """The pairs of a block's latents with later ones that are alike: [2, pairs]."""
    alike = units[start : start + BLOCK] @ units[start:].T >= cosine
    one, other = np.nonzero(np.triu(alike, 1))
    return np.stack([one, other]) + start


def _merged(component: NDArray[np.int64], units: Rows, cosine: float) -> list[tuple[int, ...]]:
    """The clusters of two and more in a component."""
    if len(component) > LARGEST_COMPONENT:
        raise InvalidInput(
            f"with a cosine of {cosine}, {len(component):,} latents hang together; give a larger one", param="cosine"
        )
    own = units[component]
    distances = (1.0 - own @ own.T)[np.triu_indices(len(own), 1)]
    # Rounded, so that equal distances are equal on every machine; a pair at the very bound still counts.
    tree = linkage(np.round(np.clip(distances, 0.0, 2.0), 6), method="complete")
    of = fcluster(tree, t=round(1.0 - cosine, 6) + 1e-9, criterion="distance")
    parts = (component[of == each] for each in np.unique(of))
    return [tuple(sorted(map(int, part))) for part in parts if len(part) > 1]


def _cluster(latents: tuple[int, ...], units: Rows) -> SplitConcept:
    own = units[list(latents)]
    cosines = (own @ own.T)[np.triu_indices(len(own), 1)]
    return SplitConcept(latents, float(cosines.mean()), float(cosines.min()), float(np.linalg.norm(own.sum(axis=0))))
