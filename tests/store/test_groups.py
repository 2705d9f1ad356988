"""Groups: one name for several features, in one namespace with the features' own names."""

import pytest

from featurehub.errors import AmbiguousFeature, FeatureNotFound, InvalidInput
from featurehub.groups import GROUPS_MAX, MEMBERS_MAX
from featurehub.records import ResolvedGroup
from featurehub.store import Scope, Store, Writer
from featurehub.store.reader import Reader
from tests.labels import labeled
from tests.store.counting import counted

ALICE, BOB = Scope(owner="alice"), Scope(owner="bob")
LABELS = {1: "pirate: matey, ship", 2: "pirate: ahoy", 3: "banking", 4: "gardening"}
A, B = "a" * 64, "b" * 64


def resolved(reader: Reader, key: str, scope: Scope = ALICE) -> list[int]:
    """The latents that a name stands for."""
    found = reader.resolve_named([key], scope)[key]
    return [each.latent for each in (found.features if isinstance(found, ResolvedGroup) else (found,))]


def other(writer: Writer, fill, labels: dict[int, str]) -> dict[int, str]:
    return fill(writer, labels, name="other", id=B)


def test_a_name_stands_for_several_features(store: Store, fill) -> None:
    with store.write() as writer:
        ids, more = fill(writer, LABELS), other(writer, fill, {7: "sailor: rum"})
        saved = writer.put_group("Pirate Speech", {ids[2]: 0.5, more[7]: -0.25, ids[1]: 1.0}, description="all of it")
    with store.read() as reader:
        for key in ("Pirate Speech", "pirate  SPEECH", saved.id):
            group, features = reader.resolve_named([key])[key]
            assert (group, group.members) == (saved, saved.members)
            assert [(each.artifact, each.latent) for each in features] == [(A, 2), (B, 7), (A, 1)]
            assert [each.weight for each in group.members] == [0.5, -0.25, 1.0]
        assert [each.label for each in group.members] == ["pirate: ahoy", "sailor: rum", "pirate: matey, ship"]
        assert (group.owner, group.description, group.method) == ("", "all of it", "by hand")
        with pytest.raises(FeatureNotFound, match="group of 3 features; name one of them") as caught:
            reader.resolve("pirate speech")
        assert caught.value.suggestions == ("pirate: ahoy", "sailor: rum", "pirate: matey, ship")


def test_it_is_looked_up_in_the_statement_that_looks_up_features(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        for n in range(20):
            writer.put_group(f"group {n}", {ids[1]: 1.0, ids[n % 3 + 2]: 0.5})
        writer.put_alias(ids[1], "buccaneer")
        writer.put_alias(ids[1], "corsair", owner="alice")
    names = [f"group {n}" for n in range(20)] + ["banking", "corsair", f"sae:demo-l2/{4}"]
    with counted(store) as statements, store.read() as reader:
        found = reader.resolve_named(names, ALICE)
    assert len([each for each in statements if each.lstrip().startswith(("SELECT", "WITH"))]) == 2, statements
    assert [resolved(reader, each) for each in names] == [[1, n % 3 + 2] for n in range(20)] + [[3], [1], [4]]
    group = found["group 7"]
    assert isinstance(group, ResolvedGroup)
    assert group.features[0].aliases == ("pirate", "buccaneer", "corsair")


def test_one_namespace_with_features(store: Store, fill) -> None:
    """A group of everyone's counts as a label in full: more than the head of a label, and as much as another label."""
    with store.write() as writer:
        ids = fill(writer, LABELS)
        with pytest.raises(AmbiguousFeature):
            writer.reader.resolve("pirate")
        writer.put_group("pirate", {ids[1]: 1.0, ids[2]: 1.0})
        assert resolved(writer.reader, "pirate") == [1, 2]
        group = writer.put_group("banking", {ids[4]: 1.0})
        with pytest.raises(AmbiguousFeature, match="names 2 features and groups") as caught:
            resolved(writer.reader, "banking")
        assert set(caught.value.candidates) == {ids[3], group.id}
        assert "(the group 'banking')" in caught.value.message
        assert resolved(writer.reader, group.id) == [4]
        assert resolved(writer.reader, "sae:demo-l2/3") == [3]


def test_an_owners_group_goes_first_and_nobody_else_knows_it(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        writer.put_group("banking", {ids[4]: 1.0}, ALICE)
        writer.put_group("booty", {ids[1]: 1.0, ids[2]: 1.0}, ALICE)
        writer.put_group("booty", {ids[3]: 1.0})
        reader = writer.reader
        assert [resolved(reader, "banking", each) for each in (ALICE, BOB)] == [[4], [3]]
        assert [resolved(reader, "booty", each) for each in (ALICE, BOB)] == [[1, 2], [3]]
        assert [each.owner for each in reader.groups.list(BOB)] == [""]
        assert [each.owner for each in reader.groups.find("boot", ALICE)] == ["alice", ""]
        writer.put_alias(ids[3], "booty", owner="alice")
        with pytest.raises(AmbiguousFeature):
            resolved(reader, "booty")
        with pytest.raises(FeatureNotFound):
            writer.remove_group("booty", owner="bob")
        writer.remove_group("booty", owner="alice")
        assert resolved(reader, "booty") == [3]


def test_suggestions_and_search_know_groups(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        writer.put_group("treasure chest", {ids[1]: 1.0}, description="gold and 100% silver")
        writer.put_group("secret chest", {ids[2]: 1.0}, ALICE)
    with store.read() as reader:
        with pytest.raises(FeatureNotFound) as caught:
            resolved(reader, "tresure chest")
        assert caught.value.suggestions[0] == "treasure chest"
        assert "secret chest" not in reader.suggest("secret ches", BOB)
        queries = ("chest", "secret chest", "gold", "tre", "silver gold", "chest platinum", "%", "100%", "", "!?")
        names = {query: [each.name for each in reader.groups.find(query, ALICE)] for query in queries}
    assert names == {
        "chest": ["secret chest", "treasure chest"], "secret chest": ["secret chest"], "gold": ["treasure chest"],
        "tre": ["treasure chest"], "silver gold": ["treasure chest"], "chest platinum": [], "%": [],
        "100%": ["treasure chest"], "": [], "!?": [],
    }  # fmt: skip


def test_a_member_that_is_gone_stops_the_group(store: Store, fill) -> None:
    """Never a smaller group in silence; and the SAE may come back."""
    with store.write() as writer:
        ids, more = fill(writer, LABELS), other(writer, fill, {7: "sailor: rum"})
        saved = writer.put_group("pirate speech", {ids[1]: 1.0, more[7]: 0.5})
        writer.remove_artifact(B)
        for scope in (Scope(), Scope(saes=(A,))):
            with pytest.raises(
                FeatureNotFound, match=r"sae:bbbbbbbbbbbb/7 \('sailor: rum'\) is not registered any more"
            ):
                resolved(writer.reader, "pirate speech", scope)
        [group] = writer.reader.groups.list(Scope())
        assert [(each.weight, each.is_gone) for each in group.members] == [(1.0, False), (0.5, True)]
        other(writer, fill, {7: "rum"})
        assert resolved(writer.reader, saved.id) == [1, 7]
        writer.put_features(A, [])
        with pytest.raises(FeatureNotFound, match="sae:demo-l2/1"):
            resolved(writer.reader, "pirate speech")


def test_a_member_in_an_sae_that_is_not_in_use_does_too(store: Store, fill) -> None:
    with store.write() as writer:
        ids, more = fill(writer, LABELS), other(writer, fill, {7: "sailor: rum"})
        writer.put_group("both", {ids[1]: 1.0, more[7]: 0.5})
        writer.put_group("banking", {more[7]: 1.0})
        reader, here = writer.reader, Scope(saes=(A,))
        with pytest.raises(FeatureNotFound, match=r"sae:other/7 .* lies in an SAE that is not in use here"):
            resolved(reader, "both", here)
        assert resolved(reader, "banking", here) == [3]
        assert [each.name for each in reader.groups.list(here)] == ["both"]
        writer.put_group("far", {more[7]: 1.0})
        with pytest.raises(FeatureNotFound, match="not in use here"):
            resolved(reader, "far", here)


def test_saving_again_replaces_it_and_labels_are_those_of_now(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        first = writer.put_group("pirate", {ids[1]: 1.0, ids[2]: 1.0, ids[3]: 1.0})
        again = writer.put_group("PIRATE", {ids[2]: 0.5}, method="decoder rows")
        assert first == again
        writer.put_label(ids[2], labeled("buccaneer"), provenance)
        [group] = writer.reader.groups.list(Scope())
        assert (group.name, group.method) == ("PIRATE", "decoder rows")
        assert [(each.label, each.weight) for each in group.members] == [("buccaneer", 0.5)]


@pytest.mark.parametrize("weight", [0.0, 1.5, -1.01, float("nan"), float("inf")])
def test_a_weight_is_in_bounds_and_not_nothing(store: Store, fill, weight: float) -> None:
    with store.write() as writer, pytest.raises(InvalidInput, match=r"\[-1, 1\]"):
        writer.put_group("x", {fill(writer, LABELS)[1]: weight})


@pytest.mark.parametrize("name", ["", " ", "x" * 201, " x", "x\n", "sae:demo/1", "SAE:x"])
def test_a_name_is_one_that_a_request_could_use(store: Store, fill, name: str) -> None:
    with store.write() as writer, pytest.raises(InvalidInput):
        writer.put_group(name, {fill(writer, LABELS)[1]: 1.0})


def test_sizes_are_bounded(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {n: f"label {n}" for n in range(MEMBERS_MAX + 1)})
        for members in ({}, dict.fromkeys(ids.values(), 1.0)):
            with pytest.raises(InvalidInput, match="1 to 32 features"):
                writer.put_group("x", members)
        with pytest.raises(FeatureNotFound, match="f_none"):
            writer.put_group("x", {"f_none": 1.0})
        with pytest.raises(InvalidInput, match="one feature"):
            writer.put_group("x", {ids[1]: 1.0, "label 1": 0.5})
        with pytest.raises(InvalidInput, match="description"):
            writer.put_group("x", {ids[1]: 1.0}, description="x" * 1001)
        with pytest.raises(InvalidInput, match="owner"):
            writer.put_group("x", {ids[1]: 1.0}, Scope(owner="x" * 65))


def test_so_is_their_number(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    assert GROUPS_MAX == 1000
    monkeypatch.setattr("featurehub.store.groups.GROUPS_MAX", 2)
    with store.write() as writer:
        ids = fill(writer, LABELS)
        for name in ("x", "y", "x"):
            writer.put_group(name, {ids[1]: 1.0})
        writer.put_group("z", {ids[1]: 1.0}, ALICE)
        with pytest.raises(InvalidInput, match="remove one first"):
            writer.put_group("z", {ids[1]: 1.0})
