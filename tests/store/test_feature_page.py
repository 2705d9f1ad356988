"""A feature's page: all that is known of it, from one statement."""

import pytest

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.features import State
from featurehub.store import (
    Cluster,
    CoActive,
    FeatureDetails,
    FeatureRow,
    Histogram,
    PastVerdict,
    Store,
    Writer,
    feature_page,
)
from featurehub.store.statistics import id_of
from featurehub.verdicts import DriftReport, FeatureVerdict, state_of
from tests.labels import labeled
from tests.store.conftest import PROVENANCE, build_manifest, build_row
from tests.store.counting import counted

SAE, OTHER = "a" * 64, "b" * 64
ROW = FeatureRow(
    latent=5, density=0.1, max_activation=0.1 + 0.2, neighbors=(3, 9, 7),
    histogram=Histogram(low=0.0, high=0.1 + 0.2, counts=(4, 0, 1)),
    coactive=(CoActive(latent=8, jaccard=1 / 3), CoActive(latent=3, jaccard=0.1)),
)  # fmt: skip
LABELS = {3: "money: cash", 5: "banking: loan", 6: "river", 7: "", 8: "the: a"}


def fill(writer: Writer) -> None:
    """Two SAEs with features at the same latents; no feature at latent 9."""
    for sae, name in ((SAE, "one"), (OTHER, "two")):
        writer.put_artifact(build_manifest(name=name, id=sae), "/nowhere")
        writer.put_features(sae, [ROW if each == 5 else build_row(each) for each in LABELS])
    outcomes = {id_of(SAE, each): (labeled(label, score=1 / 3), PROVENANCE) for each, label in LABELS.items() if label}
    writer.put_labels(outcomes)
    writer.put_alias(id_of(SAE, 5), "savings")
    writer.put_clusters(SAE, [Cluster(name="", latents=(8,)), Cluster(name="finance", latents=(3, 5, 6))])


def report(number: int, sae: str = SAE, **verdicts: State) -> DriftReport:
    """A report with verdicts on latents, as ``l5=State.STALE``."""
    found = tuple(
        FeatureVerdict(latent=int(name[1:]), label="x", reads=state, steers=State.FRESH, reason=f"of {number}")
        for name, state in verdicts.items()
    )
    return DriftReport(
        id=f"r{number}", artifact=sae, model=f"m{number}", fingerprint="n" * 64, created=f"2026-01-{number + 1:02}",
        state=State.SUSPECT, reason=f"as a whole {number}", metrics={}, features=found,
    )  # fmt: skip


def page(store: Store, latent: int, sae: str = SAE) -> FeatureDetails:
    with store.read() as reader:
        return reader.details(id_of(sae, latent))


def naive_drift(reports: list[DriftReport], latent: int) -> list[PastVerdict]:
    found: list[PastVerdict] = []
    for each in reversed(reports):
        said = {"report": each.id, "model": each.model, "created": each.created}
        if not each.features:
            found.append(PastVerdict(**said, state=each.state, reads=None, steers=None, reason=each.reason))
        for verdict in each.features:
            if verdict.latent == latent:
                reads, steers = verdict.reads, verdict.steers
                found.append(
                    PastVerdict(
                        **said, state=state_of(reads, steers), reads=reads, steers=steers, reason=verdict.reason
                    )
                )
    return found


@pytest.fixture
def filled(store: Store) -> Store:
    with store.write() as writer:
        fill(writer)
    return store


def test_a_page_is_one_statement(filled: Store) -> None:
    with filled.read() as reader, counted(filled) as statements:
        details = reader.details(id_of(SAE, 5))
    assert len(statements) == 1
    assert (details.histogram, details.coactive, details.neighbors) == (ROW.histogram, ROW.coactive, ROW.neighbors)
    assert details.feature.max_activation == ROW.max_activation
    assert details.feature.aliases == ("banking", "savings")
    assert [each.outcome for each in details.labels] == [labeled("banking: loan", score=1 / 3)]
    assert details.cluster == Cluster(name="finance", latents=(3, 5, 6))
    assert details.others == {3: "money: cash", 5: "banking: loan", 6: "river", 7: "", 8: "the: a"}


def test_the_feature_is_the_one_that_a_search_gives(filled: Store) -> None:
    with filled.read() as reader:
        for each in reader.features(SAE):
            assert reader.details(each.id).feature.model_dump() == each.model_dump()
        with pytest.raises(FeatureNotFound, match="'f_none'"):
            reader.details("f_none")


def test_what_is_not_known_is_empty(filled: Store) -> None:
    details = page(filled, 6, OTHER)
    assert (details.histogram, details.coactive, details.cluster, details.others) == (None, (), None, {})
    assert (details.calibration, details.labels, details.drift) == (None, (), ())
    assert page(filled, 5, OTHER).others == dict.fromkeys((3, 7, 8), ""), "of its own SAE"


def test_drift_is_that_of_every_report_newest_first(filled: Store) -> None:
    reports = [
        report(0), report(1, l5=State.STALE), report(2, l3=State.STALE), report(3, l3=State.FRESH, l5=State.UNCHECKED),
    ]  # fmt: skip
    with filled.write() as writer:
        for each in [*reports, report(4, OTHER)]:
            writer.put_report(each)
    for latent in (3, 5, 6):
        assert list(page(filled, latent).drift) == naive_drift(reports, latent)
    assert [each.report for each in page(filled, 5).drift] == ["r3", "r1", "r0"]


def test_a_history_is_as_long_as_its_bound(filled: Store) -> None:
    with filled.write() as writer:
        for number in range(feature_page.VERDICTS + 2):
            writer.put_report(report(number))
        for number in range(feature_page.LABELS):
            writer.put_label(id_of(SAE, 5), labeled(f"bank {number}"), PROVENANCE)
    details = page(filled, 5)
    assert [each.report for each in details.drift] == [f"r{n}" for n in range(feature_page.VERDICTS + 1, 1, -1)]
    assert [each.version for each in details.labels] == list(range(2, feature_page.LABELS + 2))
    assert details.feature.label_version == feature_page.LABELS + 1


def test_clusters_are_replaced(filled: Store) -> None:
    with filled.write() as writer:
        with pytest.raises(InvalidInput, match="several clusters"):
            writer.put_clusters(SAE, [Cluster(name="x", latents=(3,)), Cluster(name="y", latents=(3, 5))])
        writer.put_clusters(SAE, [Cluster(name="rest", latents=(6, 7, 9))])
    assert page(filled, 5).cluster is None
    assert page(filled, 6).cluster == Cluster(name="rest", latents=(6, 7, 9))
    assert page(filled, 6).others == {6: "river", 7: ""}
    with filled.read() as reader:
        assert reader.feature_set(SAE).clusters == (Cluster(name="rest", latents=(6, 7, 9)),)
        assert reader.feature_set(OTHER).clusters == ()
