"""Versions of labels: what becomes a name, what stays one, and what never does."""

import pytest
from pydantic import ValidationError

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.store import Label, Labeled, Store, Unlabeled
from featurehub.store.grading import BASE
from tests.labels import labeled


def test_new_label_keeps_the_old_as_alias(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking: loan, deposit"})
        assert writer.put_label(ids[1], labeled("finance: bank", score=0.7), provenance) == 2
        feature = writer.reader.resolve("banking")
        assert (feature.label, feature.label_version, feature.label_score) == ("finance: bank", 2, 0.7)
        assert set(feature.aliases) == {"finance", "banking", "banking: loan, deposit"}
        assert feature.slug == "finance"


def test_failure_is_a_reason_and_never_a_label(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})
        assert writer.put_label(ids[1], Unlabeled(reason="too few contexts"), provenance) == 2
        details = writer.reader.details(ids[1])
        assert details.labels[-1].outcome == Unlabeled(reason="too few contexts")
        assert (details.feature.label, details.feature.label_version) == ("banking", 1)
        assert writer.reader.search("too few").features == ()


def test_what_equals_the_latest_version_is_not_stored_again(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})
        assert writer.put_label(ids[1], labeled("banking", score=0.9), provenance) == 1
        assert writer.put_label(ids[1], labeled("banking", score=0.8), provenance) == 2
        assert len(writer.reader.details(ids[1]).labels) == 2


def test_current_names_beat_former_ones(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "loans"})
        writer.put_labels(
            {
                ids[1]: (labeled("fraud"), provenance),
                ids[2]: (labeled("banking"), provenance),
            }
        )
        assert writer.reader.resolve("banking").id == ids[2]
        assert writer.reader.feature(ids[2]).slug == "banking"


def test_slugs_are_unique_and_may_be_swapped(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "loan", 2: "loan: debt", 3: "貸付", 4: "sea"})
        slugs = {each.latent: each.slug for each in writer.reader.features("demo")}
        assert slugs == {1: "loan", 2: "loan-2", 3: "latent-3", 4: "sea"}
        swapped = {
            ids[1]: (labeled("sea"), provenance),
            ids[4]: (labeled("loan"), provenance),
        }
        writer.put_labels(swapped)
        assert {each.latent: each.slug for each in writer.reader.features("demo")} == slugs | {1: "sea", 4: "loan"}


def test_what_was_given_as_a_whole_is_one_name(store: Store, fill, provenance) -> None:
    """A colon and brackets in it mean nothing: not for its names and slug, and not for search."""
    note = Label(name="Note: mentions of dates (years)")
    with store.write() as writer:
        ids = fill(writer, {1: "first", 2: "Text, mentions of dates, years", 3: "note: dates (years)"})
        writer.put_label(ids[1], Labeled(label=note, score=0.9), provenance)
        feature = writer.reader.resolve("note: mentions of dates (years)")
        assert (feature.id, feature.label, feature.slug) == (ids[1], note.text, "note-mentions-of-dates-years")
        assert set(feature.aliases) == {"first"}
        assert writer.reader.resolve("note").id == ids[3], "whose head it is"
        assert writer.reader.labels("demo")[1] == note
        assert writer.reader.details(ids[1]).labels[-1].outcome == Labeled(label=note, score=0.9)
        found = {each.latent: each.relevance for each in writer.reader.search("dates").features}
        assert found[1] == found[2] > found[3]


def test_features_of_one_name_are_told_apart(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking: loan, debt", 2: "banking (loan): debt", 3: "banking (2)"})
        assert [writer.reader.resolve(key).id for key in ("banking", "banking (loan)", "Banking (2)")] == [
            *ids.values()
        ]
        assert [each.slug for each in writer.reader.features("demo")] == ["banking", "banking-loan", "banking-2"]
        found = {each.latent: each.relevance for each in writer.reader.search("banking").features}
        assert found == {1: 1.0, 2: BASE, 3: BASE}


def test_given_alias_resolves(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})
        writer.put_alias(ids[1], "Money  matters")
        writer.put_alias(ids[1], "money matters")
        assert writer.reader.resolve("MONEY MATTERS").aliases == ("Money  matters",)
        with pytest.raises(InvalidInput):
            writer.put_alias(ids[1], " \t")
        with pytest.raises(FeatureNotFound):
            writer.put_alias("f_none", "x")


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_blank_label_is_no_label(blank: str) -> None:
    with pytest.raises(ValidationError):
        labeled(blank)
    with pytest.raises(ValidationError):
        Unlabeled(reason="")
