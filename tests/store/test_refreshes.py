"""A refreshed SAE: names that go on, move or are retired; ids from before the refresh."""

from collections.abc import Iterator, Mapping

import pytest

from featurehub.errors import FeatureNotFound, FeatureRetired
from featurehub.records import Scope
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.store import Store, Writer
from tests.labels import labeled
from tests.store.conftest import build_row

OLD, NEW, NEWEST = "5" * 64, "7" * 64, "9" * 64
LABELS = {1: "banking: loan", 2: "pirates", 3: "whales: sea", 4: "weather"}
KEPT = RefreshedFeature(latent=1, label="banking: loan", fate=Fate.KEPT, reason="it holds")
MOVED = RefreshedFeature(
    latent=2, label="pirates", fate=Fate.RELABELLED, reason="its F1 fell", new_label="ships", successor=3, moved=True,
    successor_label="harbours",
)  # fmt: skip
RELABELLED = RefreshedFeature(
    latent=3, label="whales: sea", fate=Fate.RELABELLED, reason="its F1 fell", new_label="harbours", successor=2,
    successor_label="ships",
)  # fmt: skip
RETIRED = RefreshedFeature(latent=4, label="weather", fate=Fate.RETIRED, reason="the new model hardly says it")


def report_of(parent: str, artifact: str, *features: RefreshedFeature) -> RefreshReport:
    return RefreshReport(
        parent=parent, artifact=artifact, model="new", fingerprint="f" * 64, created="2026-01-01T00:00:00+00:00",
        explained_variance_before=0.9, explained_variance_stale=0.8, explained_variance=0.9, features=features,
    )  # fmt: skip


@pytest.fixture
def refreshed(store: Store, fill, provenance) -> Iterator[tuple[Writer, Mapping[int, str], Mapping[int, str]]]:
    """The ids of the features of an SAE and of the one that was made from it, by latent."""
    with store.write() as writer:
        old = fill(writer, LABELS, name="old", id=OLD)
        writer.put_alias(old[1], "cash")
        writer.put_alias(old[1], "weather")
        writer.put_alias(old[1], "mine", owner="ann")
        writer.put_alias(old[2], "buccaneers")
        fill(writer, {}, name="new", id=NEW)
        new = dict(zip((1, 2, 3), writer.put_features(NEW, map(build_row, (1, 2, 3))), strict=True))
        writer.put_refresh(report_of(OLD, NEW, KEPT, MOVED, RELABELLED, RETIRED), names=True)
        outcomes = {1: "banking: loan", 2: "ships", 3: "harbours"}
        writer.put_labels({new[each]: (labeled(label), provenance) for each, label in outcomes.items()})
        yield writer, old, new


def scope(owner: str = "") -> Scope:
    return Scope(saes=(NEW,), owner=owner)


def test_a_kept_feature_has_its_names_its_history_and_the_id_that_it_had(refreshed) -> None:
    writer, old, new = refreshed
    for key in ("banking", "banking: loan", "cash", old[1]):
        found = writer.reader.resolve(key, scope())
        assert (found.id, found.moved) == (new[1], ())
    assert writer.reader.resolve("mine", scope("ann")).id == new[1]
    old_version, verified = writer.reader.details(new[1]).labels
    assert old_version == writer.reader.details(old[1]).labels[0]
    assert (verified.version, verified.outcome.label.text) == (2, "banking: loan")
    assert writer.reader.feature(new[1]).slug == "banking"


def test_an_alias_that_was_the_label_of_a_lost_feature_does_not_take_its_place(refreshed) -> None:
    writer, _, _ = refreshed
    with pytest.raises(FeatureRetired):
        writer.reader.resolve("weather", scope())


def test_names_move_to_the_latent_that_means_them_now(refreshed) -> None:
    writer, old, new = refreshed
    for key in ("Pirates", "buccaneers", old[2]):
        found = writer.reader.resolve(key, scope())
        assert found.id == new[3]
        assert key.lower() in [each.lower() for each in found.moved]
    assert writer.reader.search("pirates", scope()).features[0].id == new[3]
    assert writer.reader.resolve("harbours", scope()).moved == ("pirates", "buccaneers")


def test_a_retired_name_says_so_and_what_comes_closest(refreshed) -> None:
    writer, old, _ = refreshed
    for key in ("whales", "whales: sea", old[3]):
        with pytest.raises(FeatureRetired, match=r"SAE 'new' was refreshed.*is called 'harbours' now") as caught:
            writer.reader.resolve(key, scope())
        assert (caught.value.suggestions, caught.value.param) == (("ships",), key)
    with pytest.raises(FeatureRetired, match="hardly says it") as caught:
        writer.reader.resolve("weather", scope())
    assert caught.value.suggestions == ()
    with pytest.raises(FeatureNotFound):
        writer.reader.resolve("never heard of", scope())


def test_where_the_parent_is_in_use_its_names_are_what_they_were(refreshed) -> None:
    writer, old, _ = refreshed
    parent = Scope(saes=(OLD,))
    assert writer.reader.resolve("pirates", parent).id == old[2]
    assert writer.reader.resolve("weather", parent).id == old[4]


def test_the_new_label_of_a_successor_leaves_its_moved_names_moved(refreshed, provenance) -> None:
    writer, _, new = refreshed
    writer.put_label(new[3], labeled("ports"), provenance)
    found = writer.reader.resolve("pirates", scope())
    assert (found.id, "pirates" in found.moved, "harbours" in found.moved) == (new[3], True, False)


def test_a_refresh_of_a_refreshed_sae_hands_all_of_it_on(refreshed, fill, provenance) -> None:
    writer, old, _ = refreshed
    fill(writer, {}, name="newest", id=NEWEST)
    ids = dict(zip((1, 3), writer.put_features(NEWEST, [build_row(1), build_row(3)]), strict=True))
    kept = [KEPT, RefreshedFeature(latent=3, label="harbours", fate=Fate.KEPT, reason="it holds")]
    lost = RefreshedFeature(latent=2, label="ships", fate=Fate.RETIRED, reason="gone")
    writer.put_refresh(report_of(NEW, NEWEST, kept[0], lost, kept[1]), names=True)
    writer.put_labels({ids[1]: (labeled("banking: loan"), provenance), ids[3]: (labeled("harbours"), provenance)})
    newest = Scope(saes=(NEWEST,))
    assert writer.reader.resolve(old[1], newest).id == ids[1]
    for key in ("pirates", old[2]):
        found = writer.reader.resolve(key, newest)
        assert found.id == ids[3]
        assert key in found.moved
    for key in ("ships", "weather", old[4]):
        with pytest.raises(FeatureRetired):
            writer.reader.resolve(key, newest)


def test_the_report_comes_back_and_goes_with_its_artifact(refreshed) -> None:
    writer, _, _ = refreshed
    report = report_of(OLD, NEW, KEPT, MOVED, RELABELLED, RETIRED)
    assert writer.reader.refresh("new") == report
    assert writer.reader.refresh("old") is None
    again = report.model_copy(update={"features": (KEPT.model_copy(update={"strength": 2.0}), *report.features[1:])})
    writer.put_refresh(again)
    assert writer.reader.refresh("new") == again
    with pytest.raises(FeatureRetired):
        writer.reader.resolve("weather", scope())
    writer.remove_artifact(NEW)
    writer.put_artifact(writer.reader.artifact(OLD).manifest.model_copy(update={"id": NEW, "name": "new"}), "/nowhere")
    assert writer.reader.refresh("new") is None
