"""A refresh as whoever starts it sees it, on a stand-in for the engine; real ones are in tests/end_to_end."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.dictionary import Dictionary
from featurehub.errors import ArtifactNotFound, FeatureRetired, InvalidInput
from featurehub.records import Scope
from featurehub.refreshes import Fate, RefreshReport
from featurehub.runs import build as building
from featurehub.runs import engines
from featurehub.runs import refresh as refreshing
from featurehub.runs.build import build
from featurehub.runs.progress import SILENT
from featurehub.runs.refresh import refresh_sae
from featurehub.runs.refresh_plan import RefreshPlan, parent_of, training_of
from featurehub.store import open_store
from labeling.judge import WordJudge
from saes.drift.check import CANARIES
from saes.reader import FakeReader
from saes.run import TrainConfig
from tests.runs.fakes import NAMES, WIDTH, FakeEngine, describe
from tests.runs.recording import Recording
from tests.runs.test_build import PROMPTS, TEXT, plan_of


class Retrained(FakeEngine):
    """Its stream has nothing to do with that of the model before."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.embedding = FakeReader(len(self.tokenizer), WIDTH, seed=1).embedding


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With an SAE that is registered, with six labels and strengths that were found by steering, and its refresh."""
    folder = tmp_path_factory.mktemp("refreshes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "Engine", FakeEngine)
        patch.setattr(building, "describe", describe)
        how = plan_of(folder / "sae")
        config = TrainConfig(tokens=16_384, batch_tokens=64)
        training = how.training.model_copy(update={"config": config})
        built = build(how.model_copy(update={"training": training}), TEXT, WordJudge(), PROMPTS)
        shutil.copytree(folder, folder / "before")
        refresh_sae(plan(built), built, TEXT)
        yield folder


@pytest.fixture
def report(folder: Path) -> RefreshReport:
    """Of the refresh."""
    with closing(open_store(folder / "features.db")) as store, store.read() as reader:
        found = reader.refresh("refreshed")
    assert found is not None
    return found


@pytest.fixture
def parent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """The SAE before any refresh, in a folder of its own."""
    monkeypatch.setattr(engines, "Engine", FakeEngine)
    return open_artifact(shutil.copytree(folder / "before", tmp_path / "own") / "sae")


def plan(parent: Artifact, **fields: Any) -> RefreshPlan:
    out = parent.folder.with_name("refreshed")
    database = str(parent.folder.with_name("features.db"))
    return RefreshPlan(model=sibling("changed"), out=out, database=database, name="refreshed", tokens=512, **fields)


def test_it_becomes_an_artifact_of_its_own_with_its_parent_named_and_nothing_is_overwritten(
    folder: Path, report: RefreshReport
) -> None:
    made, parent = open_artifact(folder / "refreshed"), open_artifact(folder / "sae")
    verify(made)
    assert (made.manifest.parent, made.manifest.id, made.manifest.d_sae) == (parent.manifest.id, report.artifact, 24)
    assert made.manifest.model.same_function(identify(sibling("changed"), parent.manifest.hook))
    assert (made.folder / CANARIES).is_file()
    before = folder / "before" / "sae"
    assert {each.name: each.read_bytes() for each in parent.folder.iterdir()} == {
        each.name: each.read_bytes() for each in before.iterdir()
    }
    assert not list(folder.glob("*.partial-*"))
    near = Dictionary.load(made.weights).W_dec @ Dictionary.load(parent.weights).W_dec.T
    assert near.argmax(dim=1).tolist() == list(range(24))


def test_each_labelled_feature_has_a_fate_and_each_name_an_answer(folder: Path, report: RefreshReport) -> None:
    assert [each.label for each in report.features] == [f"{name}: word" for name in NAMES]
    assert (report.reason, report.explained_variance is None) == ("", False)
    with closing(open_store(folder / "features.db")) as store, store.read() as reader:
        assert reader.refresh("sae") is None
        scope, old = reader.scope("refreshed"), {each.latent: each.id for each in reader.features("sae")}
        for each in report.features:
            for key in (each.label, old[each.latent]):
                check_name(reader, key, each, scope)
        assert all(each.label == "" or each.strength is not None for each in reader.features("refreshed"))


def check_name(reader: Any, key: str, each: Any, scope: Scope) -> None:
    if each.fate is Fate.KEPT:
        assert reader.resolve(key, scope).latent == each.latent
        assert reader.resolve(key, scope).moved == ()
    elif each.moved:
        assert reader.resolve(key, scope).latent == each.successor
        assert key in reader.resolve(key, scope).moved
    else:
        with pytest.raises(FeatureRetired, match="was retired when the SAE 'refreshed'"):
            reader.resolve(key, scope)


def test_strengths_that_were_found_by_steering_are_measured_again(folder: Path, report: RefreshReport) -> None:
    kept = {each.latent: each for each in report.features if each.fate is Fate.KEPT}
    assert kept
    with closing(open_store(folder / "features.db")) as store, store.read() as reader:
        before, now = (reader.feature_set(each).calibrations for each in ("sae", "refreshed"))
    for latent, each in kept.items():
        assert (each.strength_before, each.strength) == (before[latent].strength, now[latent].strength)
        assert (before[latent].method, now[latent].method) == ("steered", "steered")
        assert each.steerability == now[latent].steerability


def test_what_it_costs_is_told_beside_training_from_scratch(report: RefreshReport) -> None:
    cost = report.cost
    assert cost is not None
    assert (cost.trained, cost.scratch_trained) == (512, 16_384)
    assert cost.seconds > cost.training_seconds > 0
    assert cost.answered > 0
    assert cost.tokens > 0


def test_where_the_parent_hardly_reconstructs_scratch_is_better_and_nothing_is_trained(
    parent: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "Engine", Retrained)
    heard = Recording()
    report = refresh_sae(plan(parent), parent, TEXT, heard)
    assert (report.artifact, report.features, report.cost) == ("", (), None)
    assert report.explained_variance_stale < report.explained_variance_before / 2
    assert "of the retrained model's variance" in report.reason
    assert heard.phases == ["identifying the model", "starting the engine", "reading the canaries"]
    assert not parent.folder.with_name("refreshed").exists()
    made = refresh_sae(plan(parent, anyway=True), parent, TEXT, heard)
    assert made.artifact
    assert made.reason == report.reason
    assert "training from scratch would be better" in heard.warnings[0]


def test_one_that_was_stopped_after_training_goes_on_and_ends_as_if_it_had_not_been(
    parent: Artifact, report: RefreshReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        """Stands for the end of the process."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    for step in ("rename_features", "register", "measure_strengths"):
        with monkeypatch.context() as patch:
            patch.setattr(refreshing, step, die)
            with pytest.raises(Killed):
                refresh_sae(plan(parent), parent, TEXT)
    heard = Recording()
    resumed = refresh_sae(plan(parent), parent, TEXT, heard)
    assert "training" not in heard.phases
    assert heard.messages[0].endswith("measuring strengths goes on")
    assert resumed.artifact == report.artifact
    assert resumed.features == report.features
    assert refresh_sae(plan(parent), parent, TEXT).features == report.features


def test_on_its_own_model_there_is_nothing_to_refresh(parent: Artifact) -> None:
    with pytest.raises(InvalidInput, match="needs no refresh"):
        refresh_sae(plan(parent).model_copy(update={"model": bundled_model()}), parent, TEXT)


def test_one_that_is_not_registered_has_no_names_to_bring_back(parent: Artifact, tmp_path: Path) -> None:
    elsewhere = plan(parent).model_copy(update={"database": str(tmp_path / "other.db")})
    with pytest.raises(ArtifactNotFound):
        refresh_sae(elsewhere, parent, TEXT)


def test_a_twentieth_of_the_first_training_is_read_by_default(parent: Artifact) -> None:
    known = parent_of(plan(parent), parent, SILENT)._replace(first=2_000_000)
    training = training_of(plan(parent).model_copy(update={"tokens": None}), known).training
    assert training.config.wanted(training.buffer_tokens) <= 100_000
    assert training.config.steps > 50


def test_of_a_line_of_saes_the_longest_training_is_the_first(folder: Path) -> None:
    made = open_artifact(folder / "refreshed")
    back = RefreshPlan(
        model=bundled_model(), out=folder / "again", database=str(folder / "features.db"), name="again"
    )  # fmt: skip
    assert parent_of(back, made, SILENT).first == 16_384
