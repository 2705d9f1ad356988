"""Versions of labels: what becomes a name, what stays one, and what never does."""

import pytest
from pydantic import ValidationError

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.store import Labeled, Store, Unlabeled


def test_new_label_keeps_the_old_as_alias(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking: loan, deposit"})
        assert writer.put_label(ids[1], Labeled(label="finance: bank", score=0.7), provenance) == 2
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
        assert writer.put_label(ids[1], Labeled(label="banking", score=0.9), provenance) == 1
        assert writer.put_label(ids[1], Labeled(label="banking", score=0.8), provenance) == 2
        assert len(writer.reader.details(ids[1]).labels) == 2


def test_current_names_beat_former_ones(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "loans"})
        writer.put_labels(
            {
                ids[1]: (Labeled(label="fraud"), provenance),
                ids[2]: (Labeled(label="banking"), provenance),
            }
        )
        assert writer.reader.resolve("banking").id == ids[2]
        assert writer.reader.feature(ids[2]).slug == "banking"


def test_slugs_are_unique_and_may_be_swapped(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "loan", 2: "loan: debt", 3: "貸付", 4: "sea"})
        slugs = {each.latent: each.slug for each in writer.reader.features("demo")}
        assert slugs == {1: "loan", 2: "loan-2", 3: "latent-3", 4: "sea"}
        swapped = {ids[1]: (Labeled(label="sea"), provenance), ids[4]: (Labeled(label="loan"), provenance)}
        writer.put_labels(swapped)
        assert {each.latent: each.slug for each in writer.reader.features("demo")} == slugs | {1: "sea", 4: "loan"}


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
        Labeled(label=blank)
    with pytest.raises(ValidationError):
        Unlabeled(reason="")
