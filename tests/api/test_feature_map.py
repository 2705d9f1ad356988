"""The route of the map, against a naive reading of what the database has."""

from base64 import b64decode
from collections.abc import Callable
from statistics import median

import numpy as np
from fastapi.testclient import TestClient

from featurehub.store import Cluster, FeatureMap, Store
from tests.api.conftest import SAE

PLACES = {0: (10, 20), 1: (65535, 0), 2: (30, 41), 7: (5, 6)}


def test_places_are_packed_and_clusters_have_their_middle(store: Store, serve: Callable[..., TestClient]) -> None:
    with store.write() as writer:
        writer.put_map(SAE, FeatureMap.of(list(PLACES), list(PLACES.values())))
        clusters = ("small", (7,)), ("letters", (0, 1, 2)), ("", (3, 4)), ("not on it", (5, 6))
        writer.put_clusters(SAE, [Cluster(name=name, latents=latents) for name, latents in clusters])
    answer = serve().get("/v1/saes/demo-l2/map").json()
    assert (answer["sae"], answer["count"]) == (SAE, 4)
    assert np.frombuffer(b64decode(answer["latents"]), "<u4").tolist() == list(PLACES)
    assert np.frombuffer(b64decode(answer["places"]), "<u2").reshape(-1, 2).tolist() == list(map(list, PLACES.values()))
    x, y = (int(median(each)) for each in zip(*(PLACES[at] for at in (0, 1, 2)), strict=True))
    letters, small = answer["clusters"]
    assert letters == {"name": "letters", "size": 3, "x": x, "y": y}
    assert small == {"name": "small", "size": 1, "x": 5, "y": 6}


def test_one_that_nobody_computed_is_empty(serve: Callable[..., TestClient]) -> None:
    client = serve()
    assert client.get("/v1/saes/demo-l2/map").json()["count"] == 0
    assert client.get("/v1/saes/nothing/map").status_code == 404


def test_features_that_came_after_it_are_counted(store: Store, serve: Callable[..., TestClient]) -> None:
    client = serve()
    with store.read() as reader:
        known = [each.latent for each in reader.features(SAE)]
    assert client.get("/v1/saes/demo-l2/map").json()["newer"] == len(known)
    with store.write() as writer:
        writer.put_map(SAE, FeatureMap.of(known[:-2], [(0, 0)] * (len(known) - 2)))
    assert client.get("/v1/saes/demo-l2/map").json()["newer"] == 2
