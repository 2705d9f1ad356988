"""Aliases that somebody gave for themselves: they go before every other name, and nobody else knows them."""

import pytest

from featurehub.errors import AmbiguousFeature, FeatureNotFound, InvalidInput
from featurehub.store import Scope, Store
from tests.labels import labeled

ALICE, BOB = Scope(owner="alice"), Scope(owner="bob")


def test_an_own_alias_goes_before_everyones_names(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate", 3: "gardening"})
        writer.put_alias(ids[2], "Banking", owner="alice")
        writer.put_alias(ids[3], "banking", owner="bob")
        writer.put_alias(ids[3], "banking", owner="bob")
        reader = writer.reader
        assert [reader.resolve("banking", scope).latent for scope in (Scope(), ALICE, BOB)] == [1, 2, 3]
        assert reader.resolve("pirate", ALICE).aliases == ("Banking",)
        assert {key: each.latent for key, each in reader.resolve_many(["BANKING", ids[1]], ALICE).items()} == {
            "BANKING": 2, ids[1]: 1,
        }  # fmt: skip


def test_nobody_else_finds_it(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate"})
        writer.put_alias(ids[1], "treasure chest", owner="alice")
        reader = writer.reader
        assert reader.resolve("treasure chest", ALICE).latent == 1
        assert [each.latent for each in reader.search("treasure", ALICE).features] == [1]
        assert [each.aliases for each in reader.search("chest", ALICE).features] == [("treasure chest",)]
        assert reader.suggest("treasure ches", ALICE)[0] == "treasure chest"
        for scope in (Scope(), BOB):
            with pytest.raises(FeatureNotFound) as caught:
                reader.resolve("treasure chest", scope)
            assert "treasure chest" not in caught.value.suggestions
            assert "treasure chest" not in reader.suggest("treasure ches", scope)
            for words in ("treasure", "treasure chest", "treasur chist"):
                assert reader.search(words, scope).features == ()
        everyones = [*reader.features("demo"), reader.feature(ids[1]), *reader.search("banking").features]
        assert not [each for each in everyones if each.aliases]


def test_it_outlives_a_new_label_and_goes_with_its_feature(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate"})
        writer.put_alias(ids[1], "mine", owner="alice")
        writer.put_label(ids[1], labeled("mine"), provenance)
        writer.put_label(ids[1], labeled("fraud"), provenance)
        assert writer.reader.resolve("mine", ALICE).latent == 1
        writer.put_alias(ids[2], "mine", owner="alice")
        with pytest.raises(AmbiguousFeature):
            writer.reader.resolve("mine", ALICE)
        assert writer.reader.resolve("mine").latent == 1
        writer.remove_artifact("a" * 64)
        with pytest.raises(FeatureNotFound):
            writer.reader.resolve("mine", ALICE)


def test_an_owner_has_a_short_name(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})
        writer.put_alias(ids[1], "x", owner="o" * 64)
        with pytest.raises(InvalidInput, match="at most 64"):
            writer.put_alias(ids[1], "x", owner="o" * 65)
