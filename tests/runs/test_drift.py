"""A drift check as whoever starts it sees it, on a stand-in for the engine; real ones are in tests/end_to_end."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from featurehub.artifacts.artifact import Artifact
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.errors import StoreReadOnly
from featurehub.features import State
from featurehub.runs import build as building
from featurehub.runs import engines
from featurehub.runs.build import build
from featurehub.runs.drift import check_drift
from featurehub.store import open_store
from labeling.judge import WordJudge
from tests.runs.fakes import FakeEngine, describe
from tests.runs.recording import Recording
from tests.runs.test_build import PROMPTS, TEXT, plan_of


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """One that is registered."""
    monkeypatch.setattr(engines, "Engine", FakeEngine)
    monkeypatch.setattr(building, "describe", describe)
    return build(plan_of(tmp_path / "sae"), TEXT, WordJudge(), PROMPTS)


def test_on_its_own_function_it_is_fresh_and_no_engine_starts(artifact: Artifact, tmp_path: Path) -> None:
    heard = Recording()
    report = check_drift(artifact.folder, bundled_model(), str(tmp_path / "features.db"), progress=heard)
    assert report.state is State.FRESH
    assert not heard.phases
    with closing(open_store(tmp_path / "features.db")) as store, store.read() as reader:
        assert reader.latest_report(artifact.manifest.id) == report


def test_on_another_it_is_said_what_differs_and_what_is_done(artifact: Artifact, tmp_path: Path) -> None:
    heard = Recording()
    report = check_drift(artifact.folder, sibling("changed"), str(tmp_path / "features.db"), progress=heard)
    assert heard.phases[:2] == ["starting the engine with all layers", "reading the canaries"]
    assert all(work.done == work.total for work in heard.works.values())
    assert heard.messages[0] == "another function: weights"
    assert report.weights == "fake"
    assert report.fingerprint != artifact.manifest.model.function


def test_that_the_report_cannot_be_stored_is_said_before_anything_is_started(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    heard = Recording()
    with pytest.raises(StoreReadOnly, match=r"features\.db may only be read"):
        check_drift(artifact.folder, sibling("changed"), str(tmp_path / "features.db"), progress=heard)
    assert not heard.phases
