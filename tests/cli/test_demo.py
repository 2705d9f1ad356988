"""The demo on SmolLM2: its bundle, what it refuses, what it reads off answers. A tiny SAE stands in for its own."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo.retraining import clearest_stale, show_retraining
from featurehub.cli.demo.serving import NAME, smollm2
from featurehub.cli.demo.shown import Shown
from featurehub.cli.demo.smollm2 import check_trained_on, ensure_smollm2, smollm2_database
from featurehub.cli.main import app
from featurehub.demo import bundle as bundle_module
from featurehub.demo.bundle import bundled_model, bundled_sae, sibling
from featurehub.dictionary import Dictionary
from featurehub.errors import IncompatibleArtifact, ModelNotFound
from featurehub.features import State
from featurehub.store import FeatureRow, FeatureSet, Provenance, open_store, save_feature_set
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.labels import labeled

HOOK = HookPoint(layer=1)
BY_HAND = Provenance(author="test", method="by hand")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A tiny SAE of the planted model."""
    folder = tmp_path / "sae"
    folder.mkdir()
    W, zeros = torch.eye(4, 192), torch.zeros(4)
    Dictionary(W, W.clone(), zeros, torch.zeros(192), zeros.clone()).save(folder / WEIGHTS)
    fields = {
        "name": "tiny", "architecture": "topk", "d_model": 192, "d_sae": 4, "k": 1.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


@pytest.fixture
def database(artifact: Artifact, tmp_path: Path) -> str:
    rows = [FeatureRow(latent=1, density=0.1, max_activation=1.0)]
    features = FeatureSet(artifact.manifest, artifact.folder, rows, {1: (labeled("sea"), BY_HAND)}, {})
    save_feature_set(features, tmp_path / "built.db")
    return str(tmp_path / "built.db")


@pytest.fixture
def bundled(artifact: Artifact, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny SAE, put into a bundle by the command."""
    monkeypatch.setattr(bundle_module, "sae_place", lambda: tmp_path / "bundle" / "sae")
    monkeypatch.setenv("FEATUREHUB_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["demo", "bundle", str(artifact.folder), "--db", database], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "tiny" in done.stdout
    return bundled_sae()


def test_one_command_puts_an_sae_into_the_bundle_and_the_demo_finds_it_there(bundled: Path, artifact: Artifact) -> None:
    found = ensure_smollm2()
    assert found.manifest == open_artifact(bundled).manifest
    assert found.manifest.training == {"packed_from": artifact.manifest.id}
    assert ensure_smollm2() == found
    verified = CliRunner().invoke(app, ["saes", "verify", "tiny", "--db", smollm2_database()])
    assert verified.exit_code == 0, verified.output
    with open_store(smollm2_database()).read() as reader:
        assert reader.search("sea").features[0].artifact == found.manifest.id


def test_a_bundle_without_an_sae_says_how_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "sae_place", lambda: tmp_path)
    with pytest.raises(ModelNotFound, match="featurehub demo bundle SAE"):
        ensure_smollm2()


def test_the_model_that_it_was_trained_on_is_accepted_and_another_is_refused(bundled: Path) -> None:
    check_trained_on(ensure_smollm2(), bundled_model())
    with pytest.raises(IncompatibleArtifact, match=r"differs from it in weights.*featurehub build") as raised:
        check_trained_on(ensure_smollm2(), sibling("changed"))
    assert str(sibling("changed")) in raised.value.message


def test_a_model_with_fewer_layers_is_refused_for_the_same_reason(artifact: Artifact) -> None:
    deep = artifact.manifest.model_copy(update={"hook": HookPoint(layer=14)})
    with pytest.raises(IncompatibleArtifact, match="differs from it in weights"):
        check_trained_on(artifact._replace(manifest=deep), sibling("changed"))


def test_a_server_is_told_everything_that_it_serves(bundled: Path) -> None:
    demo = smollm2(bundled_model())
    assert demo.arguments[:5] == [str(bundled_model()), "--sae", str(demo.sae), "--db", smollm2_database()]
    assert demo.arguments[demo.arguments.index("--served-model-name") + 1] == NAME


def test_the_tour_refuses_another_model_before_a_server_is_started(bundled: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "run", "--model", str(sibling("benign"))])
    assert isinstance(done.exception, IncompatibleArtifact)


def test_without_a_retrained_model_the_last_step_is_left_out(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> Path:
        raise ModelNotFound("no adapters here")

    show_retraining(smollm2(bundled_model()), missing, Shown.load())
    assert "left out: no adapters here" in capsys.readouterr().out


def test_what_the_tour_shows_is_a_dozen_names_of_several_domains() -> None:
    shown = Shown.load()
    assert len(shown.steered) >= 12
    assert {each.domain for each in shown.steered} >= {"subject", "tone", "format", "behavior"}
    assert len({each.query for each in shown.steered}) == len(shown.steered)
    assert shown.max_tokens <= 48


def test_the_retrained_model_is_asked_for_the_stale_feature_with_the_best_label(
    artifact: Artifact, tmp_path: Path
) -> None:
    scores = {0: 0.9, 1: 0.3, 2: 0.7, 3: None}
    labels = {latent: (labeled(f"no {latent}", score=score), BY_HAND) for latent, score in scores.items()}
    rows = [FeatureRow(latent=latent, density=0.1, max_activation=1.0) for latent in scores]
    save_feature_set(FeatureSet(artifact.manifest, artifact.folder, rows, labels, {}), str(tmp_path / "scored.db"))

    def asked(*stale: int) -> str | None:
        report = judged(artifact, {latent: State.STALE if latent in stale else State.SUSPECT for latent in scores})
        found = clearest_stale(report, str(tmp_path / "scored.db"))
        return found and found.label

    assert asked(1, 2, 3) == "no 2"
    assert asked(3) == "no 3"
    assert asked() is None


def judged(artifact: Artifact, states: dict[int, State]) -> DriftReport:
    verdicts = tuple(
        FeatureVerdict(latent=latent, label=f"no {latent}", reads=state, steers=State.UNCHECKED, reason="by hand")
        for latent, state in states.items()
    )
    return DriftReport(
        id="dr_1", artifact=artifact.manifest.id, model="tiny", fingerprint="f", created="2026-01-01",
        state=State.SUSPECT, reason="by hand", metrics={}, features=verdicts,
    )  # fmt: skip
