"""Variants in the database: versions without gaps that never change, whatever becomes of the names in them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from featurehub.conditions import FeatureAbort
from featurehub.errors import AmbiguousFeature, FeatureNotFound, InvalidInput, VariantNotFound
from featurehub.features import Edit
from featurehub.store import Scope, Store, open_store
from featurehub.store import new_variants as limits
from featurehub.variants import VARIANT_NAME, PinnedFeature, StoredVariant, parse_variant
from tests.labels import labeled

ALICE, BOB = Scope(owner="alice"), Scope(owner="bob")
LABELS = {1: "pirate", 2: "banking", 3: "gardening"}
PIRATE = {"pirate": Edit(weight=0.5)}
WHEN = Edit.model_validate({"weight": -0.25, "when": {"feature": "gardening", "value": 0.25}})
ABORT = FeatureAbort.model_validate({"feature": "banking", "value": 0.5, "event": "no money"})


def test_every_save_is_the_next_version(store: Store, fill: Any) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        first = writer.variants.save("bank", "base", {"PIRATE": Edit(weight=0.5)}, [ABORT], description="arr")
        again = writer.variants.save("bank", "base", {"PIRATE": Edit(weight=0.5)}, [ABORT], description="arr")
        second = writer.variants.save("bank", "base", {"banking": WHEN})
    assert (first.version, again, second.version) == (1, first, 2)
    assert first.pinned == {
        "PIRATE": PinnedFeature(id=ids[1], artifact="a" * 64, latent=1, label="pirate"),
        "banking": PinnedFeature(id=ids[2], artifact="a" * 64, latent=2, label="banking"),
    }
    assert second.pinned.keys() == {"banking", "gardening"}
    with store.read() as reader:
        known = reader.variants
        assert [known.get(key) for key in ("bank", "bank@2", "bank@1")] == [second, second, first]
        assert known.versions("bank") == (second, first)
        assert known.versions("bank", limit=1) == (second,)
        assert known.versions("bank", after=2) == (first,)
        assert known.list() == (second,)
        assert [known.find(key) for key in ("Bank", "bank@", "bank@0", "nothing", "no/name", "")] == [None] * 6
        with pytest.raises(VariantNotFound, match="'bank' has no version 3; its latest is 2"):
            known.find("bank@3")
        with pytest.raises(VariantNotFound, match="featurehub variants list"):
            known.get("nothing")
        with pytest.raises(VariantNotFound):
            known.versions("nothing")


def test_a_version_stays_what_it_was(store: Store, fill: Any, provenance: Any) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        group = writer.put_group("speech", {"pirate": 1.0, "gardening": -0.5})
        saved = writer.variants.save("bank", "base", {"speech": Edit(weight=0.5), "banking": WHEN})
    with store.write() as writer:
        writer.put_group("speech", {"pirate": 0.25})
        writer.put_labels({ids[2]: (labeled("rivers", score=0.9), provenance)})
    with store.read() as reader:
        kept = reader.variants.get("bank")
    assert kept == saved
    assert kept.groups["speech"].members == group.members
    assert kept.pinned["banking"].label == "banking"
    with store.write() as writer:
        assert writer.variants.save("bank", "base", {"speech": Edit(weight=0.5), "banking": WHEN}).version == 2
        writer.remove_artifact("a" * 64)
        assert writer.reader.variants.get("bank@1") == saved


def test_what_a_group_means_is_part_of_a_version(store: Store, fill: Any) -> None:
    """Groups are equal by their id, versions are not."""
    with store.write() as writer:
        fill(writer, LABELS)
        writer.put_group("speech", {"pirate": 1.0})
        writer.variants.save("talk", "base", {"speech": Edit(weight=0.5)})
        writer.put_group("speech", {"pirate": 0.5})
        assert writer.variants.save("talk", "base", {"speech": Edit(weight=0.5)}).version == 2


def test_an_owners_variant_goes_first_and_nobody_else_knows_it(store: Store, fill: Any) -> None:
    with store.write() as writer:
        fill(writer, LABELS)
        save = writer.variants.save
        for name, scope, weight in (("a", ALICE, 0.1), ("b", Scope(), 0.2), ("a", Scope(), 0.3), ("c", BOB, 0.4)):
            save(name, "base", {"pirate": Edit(weight=weight)}, scope=scope)
        save("a", "base", {"pirate": Edit(weight=0.5)}, scope=ALICE)

    def weights(found: tuple[StoredVariant, ...]) -> dict[str, float | None]:
        return {f"{each.owner}/{each.address}": each.features["pirate"].weight for each in found}

    with store.read() as reader:
        assert weights(reader.variants.list("alice")) == {"alice/a@2": 0.5, "/b@1": 0.2}
        assert weights(reader.variants.list("bob")) == {"/a@1": 0.3, "/b@1": 0.2, "bob/c@1": 0.4}
        assert weights(reader.variants.list()) == {"/a@1": 0.3, "/b@1": 0.2}
        assert weights(reader.variants.versions("a", "alice")) == {"alice/a@2": 0.5, "alice/a@1": 0.1}
        assert reader.variants.find("c", "alice") is reader.variants.find("c") is None
        with pytest.raises(VariantNotFound):
            reader.variants.find("a@2", "bob")
    with store.write() as writer:
        with pytest.raises(VariantNotFound):
            writer.variants.remove("c", "alice")
        writer.variants.remove("a", "alice")
        assert weights(writer.variants.list("alice")) == {"/a@1": 0.3, "/b@1": 0.2}
        assert save_again(writer.variants) == 1


def save_again(variants: limits.WritableVariants) -> int:
    return variants.save("a", "base", PIRATE, scope=ALICE).version


def test_pages(store: Store, fill: Any) -> None:
    names = ["Z", "a", "a.b", "a_b", "b-1", "b1"]
    with store.write() as writer:
        fill(writer, LABELS)
        for name in names:
            writer.variants.save(name, "base", PIRATE)
    found, after = [], ""
    with store.read() as reader:
        while page := reader.variants.list(limit=2, after=after):
            found += [each.name for each in page]
            after = found[-1]
    assert found == sorted(names)


def test_names_that_mean_nothing_or_too_much(store: Store, fill: Any) -> None:
    with store.write() as writer:
        fill(writer, {**LABELS, 4: "twin", 5: "twin"})
        writer.put_group("speech", {"pirate": 1.0})
        for wrong, error in (("pirat", FeatureNotFound), ("twin", AmbiguousFeature)):
            condition = {"feature": wrong, "value": 0.5}
            edit = Edit.model_validate({"weight": 0.5, "when": condition})
            for features, aborts in (
                ({wrong: Edit(weight=0.5)}, []), ({"pirate": edit}, []), ({}, [FeatureAbort.model_validate(condition)]),
            ):  # fmt: skip
                with pytest.raises(error) as caught:
                    writer.variants.save("bank", "base", features, aborts)
                assert caught.value.param == wrong
        for twice in ("Pirate", "speech"):
            with pytest.raises(InvalidInput, match="name each feature once"):
                writer.variants.save("bank", "base", {"pirate": Edit(weight=0.5), twice: Edit(weight=0.5)})
        with pytest.raises(InvalidInput, match="a condition waits for one feature"):
            writer.variants.save("bank", "base", {}, [FeatureAbort.model_validate({"feature": "speech", "value": 0.5})])
        assert writer.variants.list() == ()


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"name": ""}, "name"), ({"name": "a/b"}, "name"), ({"name": "a@1"}, "name"), ({"name": "a b"}, "name"),
        ({"name": "ä"}, "name"), ({"name": "a" * 101}, "name"), ({"name": ".a"}, "name"), ({"name": "a\n"}, "name"),
        ({"model": ""}, "model"), ({"model": "m" * 501}, "model"), ({"features": {}}, "features"),
        ({"scope": Scope(owner="o" * 65)}, "owner"), ({"description": "d" * 1001}, "description"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved(lasting: Store, changed: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as caught, lasting.write() as writer:
        writer.variants.save(**{"name": "bank", "model": "base", "features": PIRATE, **changed})
    assert caught.value.param == param


def test_bounds_on_numbers_and_sizes(store: Store, fill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VARIANTS_MAX", 2)
    monkeypatch.setattr(limits, "VERSIONS_MAX", 2)
    monkeypatch.setattr(limits, "DEFINITION_CHARS", 2000)
    with store.write() as writer:
        fill(writer, LABELS)
        for name, weight in (("a", 0.1), ("a", 0.2), ("b", 0.1)):
            writer.variants.save(name, "base", {"pirate": Edit(weight=weight)})
        with pytest.raises(InvalidInput, match="2 variants already"):
            writer.variants.save("c", "base", PIRATE)
        with pytest.raises(InvalidInput, match="2 versions already"):
            writer.variants.save("a", "base", PIRATE)
        assert writer.variants.save("c", "base", PIRATE, scope=ALICE).version == 1
        many = Edit.model_validate({"weight": 0.5, "when": {"any": [{"feature": "banking", "value": 0.5}] * 50}})
        with pytest.raises(InvalidInput, match="2,000 characters as JSON"):
            writer.variants.save("b", "base", {"pirate": many})
        assert [each.version for each in writer.variants.versions("a")] == [2, 1]


def test_writers_beside_each_other_leave_no_gap(store: Store, fill: Any) -> None:
    with store.write() as writer:
        fill(writer, LABELS)

    def save(n: int) -> tuple[int, int]:
        other = open_store(store.name)
        try:
            with other.write() as writer:
                return n, writer.variants.save("bank", "base", {"pirate": Edit(weight=n / 100)}).version
        finally:
            other.close()

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(save, range(1, 25)))
    assert sorted(version for _, version in made) == [*range(1, 25)]
    with store.read() as reader:
        found = reader.variants.versions("bank")
        assert reader.variants.get("bank") == found[0]
    assert {(round(each.features["pirate"].weight * 100), each.version) for each in found} == set(made)  # type: ignore[operator]


def test_a_save_that_fails_leaves_nothing(store: Store, fill: Any) -> None:
    with store.write() as writer:
        fill(writer, LABELS)

    def fail() -> None:
        with store.write() as writer:
            writer.variants.save("bank", "base", PIRATE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as reader:
        assert reader.variants.list() == ()


@pytest.mark.parametrize(
    ("address", "means"),
    [
        ("a", ("a", None)), ("a@1", ("a", 1)), ("a.B-c_9@120", ("a.B-c_9", 120)), ("a@01", None), ("a@x", None),
        ("a@1@2", None), ("@1", None), ("a/b", None), ("a@-1", None), ("a@9999999999", None), ("a\n", None),
    ],
)  # fmt: skip
def test_addresses(address: str, means: tuple[str, int | None] | None) -> None:
    assert parse_variant(address) == means
    assert "@" not in VARIANT_NAME
