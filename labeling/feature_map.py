"""The map of a dictionary: a place on a plane for each feature, so that those that write alike lie together.

1. The decoder rows of the features are divided by their lengths.
2. Of each, the ``NEIGHBORS`` others with the highest cosine are found, a block of rows at a time; the distance of two
   is 1 − their cosine. The search is exact: it is what a feature's page calls near.
3. The first two principal components are where the points begin.
4. UMAP (McInnes, Healy and Melville 2018, arXiv 1802.03426; ``labeling.layout``) moves them until those that are near
   to each other lie together: neighbours attract each other, and a few others, drawn by a seed, repel. Fewer features
   than ``FEW`` stay where they began, since all would be neighbours of all.
5. The places are put into a square of 65,536 steps a side, without stretching one side more than the other.

One thread and one seed: the same rows give the same map. Memory holds the rows once more, ``BLOCK`` rows' cosines, and
some dozens of numbers per feature.
"""

import io
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurehub.errors import FeaturehubError, InvalidInput
from featurehub.records import FeatureMap
from labeling.statistics import nearest

__all__ = ["FEW", "LARGEST", "map_latents"]

NEIGHBORS, FEW = 15, 32
LAYOUT = "labeling.layout"
BLOCK = 4096
LARGEST = 262_144
"""Most features of a map: a page reads 8 bytes of each."""
STEPS = 65_535
BEGIN = 10.0
"""How far from the middle the farthest point begins, which UMAP's own scale expects."""


def map_latents(W_dec: np.ndarray, latents: Sequence[int]) -> FeatureMap:
    """A place for each of some latents.

    Args:
        W_dec: [d_sae, d_model] decoder rows.
        latents: Indices of the latents, ascending.

    Raises:
        InvalidInput: There are more than ``LARGEST``.
        FeaturehubError: UMAP failed.
    """
    if len(latents) > LARGEST:
        raise InvalidInput(f"a map shows at most {LARGEST:,} features, and these are {len(latents):,}", param="latents")
    rows = W_dec[np.asarray(latents, np.intp)].astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    begin = beginning(rows)
    places = begin if len(rows) < FEW else arranged(begin, *neighbors_of(rows))
    return FeatureMap.of(latents, squared(places))


def neighbors_of(units: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Step 2: [n, NEIGHBORS + 1] indices and distances, nearest first; each row itself is its first."""
    count = len(units)
    own = np.arange(count, dtype=np.int32)[:, None]
    found = np.array(list(nearest(units, np.arange(count), NEIGHBORS)), dtype=np.int32)
    distances = np.empty(found.shape, np.float32)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        for at in range(NEIGHBORS):
            distances[part, at] = 1.0 - np.einsum("nd,nd->n", units[part], units[found[part, at]])
    return np.hstack([own, found]), np.hstack([np.zeros_like(own, np.float32), np.maximum(distances, 0.0)])


def beginning(units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Step 3: [n, 2]."""
    from sklearn.decomposition import PCA

    places = np.zeros((len(units), 2), np.float32)
    if parts := min(2, *units.shape):
        centered = units - units.mean(axis=0)
        if (most := np.abs(centered).max()) > 1e-6:  # else all are one, and no direction leads
            found = PCA(parts, svd_solver="covariance_eigh").fit_transform(centered / most)
            places[:, :parts] = found * (BEGIN / np.abs(found).max())
    return places


def arranged(
    begin: NDArray[np.float32], neighbors: NDArray[np.int32], distances: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Step 4: [n, 2]. Raises FeaturehubError where that process fails."""
    sent, command = io.BytesIO(), [sys.executable, "-m", LAYOUT]
    np.savez(sent, begin=begin, neighbors=neighbors, distances=distances)
    done = subprocess.run(command, input=sent.getvalue(), capture_output=True, check=False)
    if done.returncode != 0:
        raise FeaturehubError(f"UMAP ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return np.load(io.BytesIO(done.stdout), allow_pickle=False)


def squared(places: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Step 5."""
    if not len(places):
        return np.zeros((0, 2), np.uint16)
    low, high = places.min(axis=0), places.max(axis=0)
    centered = (places - (low + high) / 2).astype(np.float64)
    return np.round(STEPS * (0.5 + centered / max(float((high - low).max()), 1e-12))).astype(np.uint16)
