"""Drift reports, and the states they set."""

import pytest

from featurehub.errors import ArtifactNotFound, FeatureNotFound
from featurehub.features import State
from featurehub.store import Store
from featurehub.verdicts import DriftReport, Evidence, FeatureVerdict

EVIDENCE = Evidence(statistic="f1", value=0.4, threshold=0.75, n=40)


def verdict(latent: int, reads: State, steers: State = State.UNCHECKED) -> FeatureVerdict:
    return FeatureVerdict(latent=latent, label="x", reads=reads, steers=steers, reason="f1 fell", evidence=(EVIDENCE,))


def report(
    id: str, state: State = State.SUSPECT, *features: FeatureVerdict, fingerprint: str = "n" * 64
) -> DriftReport:
    return DriftReport(
        id=id, artifact="a" * 64, model="sibling", fingerprint=fingerprint, created="2026-02-01T00:00:00+00:00",
        state=state, reason="because", metrics={"explained_variance": 0.9}, features=features,
    )  # fmt: skip


@pytest.fixture
def ids(store: Store, fill) -> dict[int, str]:
    with store.write() as writer:
        return fill(writer, {1: "banking", 2: "pirate", 3: "sad"})


def test_report_comes_back_as_it_went_in(store: Store, ids: dict[int, str]) -> None:
    written = report("r1", State.STALE, verdict(1, State.FRESH, State.STALE), verdict(2, State.SUSPECT))
    with store.write() as writer:
        writer.put_report(written)
        writer.put_report(written)
    with store.read() as reader:
        assert reader.latest_report("demo", "n" * 64) == written
        assert reader.reports("demo") == [written]
        assert reader.latest_report("demo") == written
        assert reader.latest_report("demo", "other") is None


def test_states_follow_the_latest_report(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("old", State.SUSPECT, verdict(1, State.FRESH)))
        writer.put_report(report("new", State.SUSPECT, verdict(1, State.STALE), verdict(2, State.FRESH)))
        writer.put_report(report("else", State.FRESH, fingerprint="z" * 64))
    with store.read() as reader:
        expected = {1: (State.STALE, "new"), 2: (State.FRESH, "new"), 3: (State.UNCHECKED, "new")}
        assert reader.states("demo", "n" * 64) == expected
        assert {latent: reader.verdict(id, "n" * 64) for latent, id in ids.items()} == expected
        states = [each.state for each in reader.with_states(reader.features("demo"), "n" * 64)]
        assert states == [State.STALE, State.FRESH, State.UNCHECKED]


def test_report_without_verdicts_speaks_for_all(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("whole", State.STALE))
    with store.read() as reader:
        assert set(reader.states("demo", "n" * 64).values()) == {(State.STALE, "whole")}
        assert reader.verdict(ids[3], "n" * 64) == (State.STALE, "whole")


def test_without_a_report_nothing_is_fresh(store: Store, ids: dict[int, str]) -> None:
    with store.read() as reader:
        assert set(reader.states("demo", "n" * 64).values()) == {(State.UNCHECKED, None)}
        assert reader.verdict(ids[1], "n" * 64) == (State.UNCHECKED, None)
        with pytest.raises(FeatureNotFound):
            reader.verdict("f_none", "n" * 64)


def test_report_needs_its_artifact(store: Store) -> None:
    with store.write() as writer, pytest.raises(ArtifactNotFound):
        writer.put_report(report("r1"))
