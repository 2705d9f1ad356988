"""Drift reports, and the states they set."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurehub.errors import ArtifactNotFound, NotFound
from featurehub.features import State
from featurehub.store import Reader, Store
from featurehub.verdicts import DriftReport, FeatureVerdict, Statistic
from tests.store.undone import undone

EVIDENCE = Statistic(statistic="f1", value=0.4, threshold=0.75, n=40)


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


def naive_state(reports: list[DriftReport], latent: int) -> tuple[State, str | None]:
    """The rules as they are written, of whole reports, latest first."""
    if not reports:
        return State.UNCHECKED, None
    verdicts = {each.latent: each.state for each in reports[0].features}
    other = State.UNCHECKED if verdicts else reports[0].state
    return verdicts.get(latent, other), reports[0].id


def states(reader: Reader, fingerprint: str = "n" * 64) -> dict[int, tuple[State, str | None]]:
    features = reader.features("demo")
    found = reader.states_of(features, fingerprint)
    return {each.latent: found[each.id] for each in features}


def test_states_follow_the_latest_report(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("old", State.SUSPECT, verdict(1, State.FRESH)))
        writer.put_report(report("new", State.SUSPECT, verdict(1, State.STALE), verdict(2, State.FRESH)))
        writer.put_report(report("else", State.FRESH, fingerprint="z" * 64))
    with store.read() as reader:
        expected = {1: (State.STALE, "new"), 2: (State.FRESH, "new"), 3: (State.UNCHECKED, "new")}
        assert states(reader) == expected


def test_report_without_verdicts_speaks_for_all(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("whole", State.STALE))
    with store.read() as reader:
        assert set(states(reader).values()) == {(State.STALE, "whole")}


def test_past_reports_are_counted(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("old", State.STALE, verdict(1, State.FRESH, State.STALE), verdict(2, State.STALE)))
        writer.put_report(report("new", State.FRESH, fingerprint="z" * 64))
    with store.read() as reader:
        new, old = reader.past_reports("demo", 5)
        assert (new.id, new.verdicts) == ("new", {})
        assert (old.id, old.verdicts) == ("old", Counter(each.state for each in reader.report("old").features))
        assert reader.past_reports("demo", 1) == [new]
        with pytest.raises(NotFound, match="there is no drift report 'none'"):
            reader.report("none")


def test_without_a_report_nothing_is_fresh(store: Store, ids: dict[int, str]) -> None:
    with store.read() as reader:
        assert set(states(reader).values()) == {(State.UNCHECKED, None)}
        assert reader.report_heads(["a" * 64], "n" * 64) == {"a" * 64: None}


def test_the_head_is_the_report_without_its_verdicts(store: Store, ids: dict[int, str]) -> None:
    written = report("r1", State.STALE, verdict(1, State.STALE))
    with store.write() as writer:
        writer.put_report(report("r0", State.FRESH))
        writer.put_report(written)
        writer.put_report(report("r2", State.FRESH, fingerprint="z" * 64))
    with store.read() as reader:
        [head] = reader.report_heads(["a" * 64], "n" * 64).values()
        assert head is not None
        assert head.model_dump() == {name: getattr(written, name) for name in type(head).model_fields}
        assert reader.report_heads(["a" * 64], "o" * 64) == {"a" * 64: None}
        [latest] = reader.report_heads(["a" * 64], None).values()
        assert latest is not None
        assert latest.id == "r2"


def test_a_verdict_that_checked_nothing_is_not_fresh(store: Store, ids: dict[int, str]) -> None:
    with store.write() as writer:
        writer.put_report(report("r1", State.FRESH, verdict(1, State.UNCHECKED), verdict(2, State.FRESH)))
    with store.read() as reader:
        assert [state for state, _ in states(reader).values()] == [State.UNCHECKED, State.FRESH, State.UNCHECKED]


STATES = st.sampled_from(list(State))
VERDICTS = st.dictionaries(st.integers(0, 5), st.tuples(STATES, STATES), max_size=6)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("no"), STATES, VERDICTS), max_size=5))
def test_states_of_many_are_those_of_each(lasting: Store, fill, reports) -> None:
    """Of two SAEs and two models, whatever was reported in which order."""
    with undone(lasting) as writer:
        for sae in "ab":
            fill(writer, dict.fromkeys(range(6), "x"), name=sae, id=sae * 64)
        for number, (sae, model, state, verdicts) in enumerate(reports):
            features = [verdict(latent, *halves) for latent, halves in verdicts.items()]
            written = report(f"r{number}", state, *features, fingerprint=model * 64)
            writer.put_report(written.model_copy(update={"artifact": sae * 64}))
        for model in "no":
            features = [*writer.reader.features("a"), *writer.reader.features("b")]
            told = {
                sae * 64: [each for each in writer.reader.reports(sae) if each.fingerprint == model * 64]
                for sae in "ab"
            }
            assert writer.reader.states_of(features, model * 64) == {
                each.id: naive_state(told[each.artifact], each.latent) for each in features
            }


def test_report_needs_its_artifact(store: Store) -> None:
    with store.write() as writer, pytest.raises(ArtifactNotFound):
        writer.put_report(report("r1"))
