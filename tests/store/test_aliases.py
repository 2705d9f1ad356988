"""Aliases of artifacts: one owner a name, found everywhere, gone with the artifact."""

from collections.abc import Iterator
from threading import Thread

import pytest

from featurehub.errors import ArtifactNotFound, InvalidInput
from featurehub.store import Store, Writer

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def writer(store: Store, make_manifest) -> Iterator[Writer]:
    with store.write() as writer:
        writer.put_artifact(make_manifest("one", ONE), "/one")
        writer.put_artifact(make_manifest("two", TWO), "/two")
        yield writer


def test_an_artifact_answers_to_its_aliases_and_their_beginnings(writer: Writer) -> None:
    assert writer.put_artifact_alias(ONE, "production") is None
    assert writer.put_artifact_alias(ONE, "best") is None
    assert writer.put_artifact_alias(ONE, "best") is None
    for key in ("production", "prod", "best", "one", "1111"):
        assert writer.reader.artifact(key).id == ONE
    assert writer.reader.artifact("two").aliases == ()
    assert [each.aliases for each in writer.reader.artifacts()] == [("best", "production"), ()]


def test_an_alias_moves_to_whoever_is_given_it(writer: Writer) -> None:
    writer.put_artifact_alias(ONE, "production")
    assert writer.put_artifact_alias(TWO, "production") == ONE
    assert writer.reader.artifact("production").id == TWO
    assert writer.reader.artifact("one").aliases == ()


def test_a_feature_has_an_address_by_alias(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {3: "banking"})
        writer.put_artifact_alias("a" * 64, "production")
        assert writer.reader.resolve("sae:production/3").id == ids[3]
        assert writer.reader.search("banking", writer.reader.scope("production")).features[0].id == ids[3]


def test_whoever_reads_meanwhile_finds_one_owner(store: Store, make_manifest) -> None:
    with store.write() as writer:
        for id, name in ((ONE, "one"), (TWO, "two")):
            writer.put_artifact(make_manifest(name, id), "/nowhere")
        writer.put_artifact_alias(ONE, "production")
    seen: list[str] = []

    def look() -> None:
        for _ in range(20):
            with store.read() as reader:
                seen.append(reader.artifact("production").id)

    reading = Thread(target=look)
    reading.start()
    for owner in [TWO, ONE] * 5:
        with store.write() as writer:
            writer.put_artifact_alias(owner, "production")
    reading.join()
    assert len(seen) == 20
    assert set(seen) <= {ONE, TWO}


@pytest.mark.parametrize("name", ["", " ", " x", "x ", "x\n", "x" * 201])
def test_what_is_no_name_is_refused(writer: Writer, name: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 200"):
        writer.put_artifact_alias(ONE, name)


@pytest.mark.parametrize("name", ["one", "two", TWO])
def test_an_alias_never_hides_what_an_artifact_is_called(writer: Writer, name: str) -> None:
    with pytest.raises(InvalidInput, match="own name"):
        writer.put_artifact_alias(ONE, name)


def test_an_artifact_that_is_registered_under_an_alias_takes_it(writer: Writer, make_manifest) -> None:
    writer.put_artifact_alias(ONE, "production")
    writer.put_artifact(make_manifest("production", "3" * 64), "/three")
    assert writer.reader.artifact("production").id == "3" * 64
    assert writer.reader.artifact("one").aliases == ()


def test_an_alias_goes_alone_or_with_its_artifact(writer: Writer) -> None:
    for name in ("production", "best"):
        writer.put_artifact_alias(ONE, name)
    with pytest.raises(ArtifactNotFound, match="has no alias 'best'; it has: none"):
        writer.remove_artifact_alias(TWO, "best")
    writer.remove_artifact_alias(ONE, "best")
    assert writer.reader.artifact("one").aliases == ("production",)
    writer.remove_artifact(ONE)
    with pytest.raises(ArtifactNotFound, match="production"):
        writer.reader.artifact("production")


def test_an_alias_needs_its_artifact(writer: Writer) -> None:
    with pytest.raises(ArtifactNotFound):
        writer.put_artifact_alias("9" * 64, "production")
