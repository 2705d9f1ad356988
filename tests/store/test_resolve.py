"""A key finds its feature, or says why not."""

import pytest

from featurehub.errors import AmbiguousFeature, ArtifactNotFound, FeatureNotFound
from featurehub.store import Store

LABELS = {
    1: "banking: loan, deposit",
    2: "banking (loan): debt",
    3: "Pirate",
    4: "Ärzte & Pflege: Wunde",
    5: "海賊: 船",
}


@pytest.mark.parametrize(
    ("key", "latent"),
    [
        ("banking", 1), ("BANKING", 1), ("  banking ", 1), ("Banking: Loan, Deposit", 1), ("banking (loan)", 2),
        ("banking-loan", 2), ("pirate", 3), ("ÄRZTE & PFLEGE", 4), ("A\u0308rzte & Pflege", 4), ("海賊", 5),
        ("sae:demo-l2/3", 3), ("SAE:demo/3", 3), (f"sae:{'a' * 64}/3", 3), ("sae:aaaa/3", 3),
    ],
)  # fmt: skip
def test_every_form_of_a_key(store: Store, fill, key: str, latent: int) -> None:
    with store.write() as writer:
        ids = fill(writer, LABELS)
        assert writer.reader.resolve(key).id == ids[latent]
        assert writer.reader.resolve(key, writer.reader.scope("demo-l2")).id == ids[latent]
        assert writer.reader.resolve(ids[latent]).latent == latent


def test_unknown_name_brings_the_closest(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, LABELS)
        with pytest.raises(FeatureNotFound, match="'banking'") as caught:
            writer.reader.resolve("bankin")
    assert caught.value.suggestions == ("banking", "banking (loan)")


def test_unknown_name_in_an_empty_store(store: Store) -> None:
    with store.read() as reader, pytest.raises(FeatureNotFound) as caught:
        reader.resolve("anything")
    assert caught.value.suggestions == ()


@pytest.mark.parametrize(
    "key",
    [
        "sae:", "sae:demo-l2", "sae:demo-l2/", "sae:demo-l2/x", "sae:demo-l2/9", "sae:/3", "sae:demo-l2/-1",
        "sae:demo-l2/99999999999999999999", "", " ", "x" * 10_000, "\x00", "'",
    ],
)  # fmt: skip
def test_what_is_no_key_is_not_found(store: Store, fill, key: str) -> None:
    with store.write() as writer:
        fill(writer, LABELS)
        with pytest.raises(FeatureNotFound):
            writer.reader.resolve(key)


def test_shared_head_is_ambiguous_and_a_full_label_is_not(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking: loan", 2: "banking: fraud"})
        with pytest.raises(AmbiguousFeature, match="2 features") as caught:
            writer.reader.resolve("banking")
        assert set(caught.value.candidates) == set(ids.values())
        assert writer.reader.resolve("banking: fraud").latent == 2


def test_exact_label_beats_heads(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "banking: fraud", 3: "banking news"})
        assert writer.reader.resolve("banking").latent == 1


def test_two_artifacts_share_a_name(store: Store, fill) -> None:
    with store.write() as writer:
        first = fill(writer, {1: "banking"}, name="one", id="1" * 64)
        second = fill(writer, {1: "banking"}, name="two", id="2" * 64)
        reader = writer.reader
        with pytest.raises(AmbiguousFeature):
            reader.resolve("banking")
        assert (
            reader.resolve("banking", reader.scope("one")).id,
            reader.resolve("banking", reader.scope("two")).id,
        ) == (first[1], second[1])
        with pytest.raises(FeatureNotFound):
            reader.resolve(second[1], reader.scope("one"))
        with pytest.raises(FeatureNotFound, match="not the one in use"):
            reader.resolve("sae:two/1", reader.scope("one"))


def test_artifact_prefix_must_be_unambiguous(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"}, name="demo-l2", id="1" * 64)
        fill(writer, {1: "banking"}, name="demo-l3", id="2" * 64)
        assert writer.reader.artifact("demo-l3").id == "2" * 64
        for key in ("demo", "", "other"):
            with pytest.raises(ArtifactNotFound, match="demo-l2"):
                writer.reader.artifact(key)
