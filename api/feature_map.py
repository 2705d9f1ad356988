"""``/v1/saes/{name}/map``: where an SAE's features lie among each other, for a page that draws them."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Literal

import numpy as np
from fastapi import APIRouter

from api.deployment import CurrentDeployment
from featurehub.records import Cluster, FeatureMap
from featurehub.settings import Frozen

__all__ = ["MapAnswer", "PlacedCluster", "router"]

CLUSTERS = 200
"""Most clusters of an answer."""
router = APIRouter(prefix="/v1/saes", tags=["saes"])


class PlacedCluster(Frozen):
    """A cluster on the map.

    Attributes:
        name: What its labels share.
        size: How many of its features are on the map.
        x, y: The middle of their places: the median of each coordinate.
    """

    name: str
    size: int
    x: int
    y: int


class MapAnswer(Frozen):
    """Places of an SAE's features on a plane: those whose decoder rows point alike lie near to each other.

    Attributes:
        object: Always "map".
        sae: The SAE's id.
        count: n, how many features it shows; 0 where nobody has computed it, as `featurehub features map SAE` does.
        latents: [n] their indices, ascending: little-endian uint32 in base64.
        places: [n, 2] x and y in [0, 65535]: little-endian uint16 in base64.
        clusters: The named clusters, the largest first; at most 200.
        newer: How many features have come since it was computed, and are not on it until that is done again.
    """

    object: Literal["map"] = "map"
    sae: str
    count: int
    latents: str
    places: str
    clusters: tuple[PlacedCluster, ...]
    newer: int


@router.get("/{name:path}/map")
def feature_map(deployment: CurrentDeployment, name: str) -> MapAnswer:
    """Where an SAE's features lie among each other, as `featurehub features map` has computed it."""
    with deployment.store.read() as reader:
        artifact = reader.artifact(name)
        map, clusters = reader.map(artifact.id), reader.clusters(artifact.id)
        count, _ = reader.count_features(artifact.id)
    if map is None:
        return MapAnswer(sae=artifact.id, count=0, latents="", places="", clusters=(), newer=count)
    rows = {latent: row for row, latent in enumerate(map.latents.tolist())}
    named = (placed_on(map, rows, each) for each in clusters if each.name)
    placed = sorted(named, key=lambda each: (-each.size, each.name))
    return MapAnswer(
        sae=artifact.id,
        count=len(map.latents),
        latents=b64encode(map.packed_latents).decode(),
        places=b64encode(map.packed_places).decode(),
        clusters=tuple(each for each in placed[:CLUSTERS] if each.size),
        newer=max(0, count - len(map.latents)),
    )


def placed_on(map: FeatureMap, rows: Mapping[int, int], cluster: Cluster) -> PlacedCluster:
    """A cluster by the places of its features, of which ``rows`` says where on the map each latent is."""
    own = map.places[[rows[each] for each in cluster.latents if each in rows]]
    x, y = np.median(own, axis=0).astype(int).tolist() if len(own) else (0, 0)
    return PlacedCluster(name=cluster.name, size=len(own), x=x, y=y)
