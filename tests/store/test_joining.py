"""Labels that came without their SAE are handed on to it whole: versions, names, places in groups."""

from collections.abc import Iterator, Mapping

import pytest

from featurehub.records import Provenance, Scope, Unlabeled
from featurehub.store import Store, Writer
from tests.labels import labeled

SOURCE, TARGET = "5" * 64, "7" * 64


@pytest.fixture
def two(store: Store, fill) -> Iterator[tuple[Writer, Mapping[int, str], Mapping[int, str]]]:
    """A source with three labelled features, and an SAE that has two of them, one with a label of its own."""
    with store.write() as writer:
        source = fill(writer, {1: "banking: loan", 2: "pirates", 9: "whales"}, name="labels", id=SOURCE)
        target = fill(writer, {1: "money", 2: "ships"}, name="ours", id=TARGET)
        yield writer, source, target


def test_all_versions_come_after_its_own_with_their_provenance(two, provenance) -> None:
    writer, source, target = two
    tried = Provenance(author="a machine", method="asked")
    writer.put_label(source[1], Unlabeled(reason="no answer"), tried)
    writer.put_label(source[1], labeled("finance: bank", score=0.7), provenance)
    before = writer.reader.details(source[1]).labels
    assert writer.join_labels(SOURCE, TARGET) == 2
    own, *joined = writer.reader.details(target[1]).labels
    assert (own.version, own.outcome.label.text) == (1, "money")
    assert [each.version for each in joined] == [2, 3, 4]
    assert [(e.outcome, e.provenance, e.created) for e in joined] == [
        (e.outcome, e.provenance, e.created) for e in before
    ]
    found = writer.reader.feature(target[1])
    assert (found.label, found.label_version, found.label_score, found.slug) == ("finance: bank", 4, 0.7, "finance")


def test_a_reason_after_the_label_leaves_the_label(two, provenance) -> None:
    writer, source, target = two
    writer.put_label(source[1], Unlabeled(reason="no answer"), provenance)
    writer.join_labels(SOURCE, TARGET)
    found = writer.reader.feature(target[1])
    assert (found.label, found.label_version) == ("banking: loan", 2)
    assert len(writer.reader.details(target[1]).labels) == 3


def test_its_names_are_names_of_the_other(two) -> None:
    writer, source, target = two
    writer.put_alias(source[1], "cash")
    writer.put_alias(source[1], "my own", owner="ann")
    writer.join_labels(SOURCE, TARGET)
    writer.remove_artifact(SOURCE)
    assert set(writer.reader.feature(target[1]).aliases) >= {"cash", "money", "banking"}
    for name in ("cash", "money", "banking", "banking: loan"):
        assert writer.reader.resolve(name).id == target[1]
    assert writer.reader.resolve("my own", Scope(owner="ann")).id == target[1]
    assert writer.reader.suggest("my own") == ()


def test_a_group_has_the_other_in_its_place_once(two) -> None:
    writer, source, target = two
    writer.put_group("sea", {source[2]: 0.5, source[9]: 0.25})
    writer.put_group("both", {source[2]: 0.5, target[2]: 0.25})
    writer.join_labels(SOURCE, TARGET)
    members = {group.name: [each.id for each in group.members] for group in writer.reader.groups.list(Scope())}
    assert members == {"sea": [target[2], source[9]], "both": [source[2], target[2]]}
