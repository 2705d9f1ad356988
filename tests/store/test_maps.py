"""The map of an artifact's features in the database."""

import pytest

from featurehub.errors import ArtifactNotFound, InvalidInput
from featurehub.store import FeatureMap, Store
from tests.store.conftest import fill_artifact

SAE = "a" * 64
MAP = FeatureMap.of([1, 2], [[0, 65535], [9, 8]])


def test_a_map_is_kept_until_another_comes(store: Store) -> None:
    with store.write() as writer:
        fill_artifact(writer, {1: "banking", 2: "pirate"})
    with store.read() as reader:
        assert reader.map("demo") is None
    for each in (MAP, FeatureMap.of([2], [[3, 4]])):
        with store.write() as writer:
            writer.put_map(SAE, each)
        with store.read() as reader:
            assert reader.map("demo") == each
    with store.write() as writer:
        writer.remove_artifact(SAE)
    with store.write() as writer:
        fill_artifact(writer, {1: "banking", 2: "pirate"})
        assert writer.reader.map("demo") is None


def test_what_is_no_map_is_refused(store: Store) -> None:
    with store.write() as writer:
        fill_artifact(writer, {1: "banking", 2: "pirate"})
        with pytest.raises(ArtifactNotFound):
            writer.put_map("b" * 64, MAP)
        for wrong in (FeatureMap.of([2, 1], [[0, 0], [1, 1]]), FeatureMap.of([1, 2], [[0, 0]])):
            with pytest.raises(InvalidInput, match="latents ascend"):
                writer.put_map(SAE, wrong)
        with pytest.raises(InvalidInput, match="lies outside"):
            writer.put_map(SAE, FeatureMap.of([1 << 20], [[0, 0]]))
