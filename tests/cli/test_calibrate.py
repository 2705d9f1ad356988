"""`featurehub calibrate`: its options and its table, and what search says of features that never were calibrated."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model
from featurehub.errors import FeaturehubError, InvalidInput
from featurehub.runs import build as building
from featurehub.runs import engines
from featurehub.runs.build import build
from featurehub.store import open_store
from labeling.calibration import CalibrationConfig
from labeling.judge import WordJudge
from tests.runs.fakes import FakeEngine, describe
from tests.runs.test_build import PROMPTS, TEXT, plan_of

FEW = CalibrationConfig(names=2, answers=2, confirm=3, unsteered=4)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Artifact, str]:
    """An SAE of six labelled features, the best two of them calibrated."""
    monkeypatch.setattr(engines, "Engine", FakeEngine)
    monkeypatch.setattr(building, "describe", describe)
    plan = plan_of(tmp_path / "sae").model_copy(update={"calibration": FEW})
    return build(plan, TEXT, WordJudge(), PROMPTS), plan.database


def call(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(done.exception, FeaturehubError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_without_names_it_goes_on_with_the_others_and_prints_a_table(built: tuple[Artifact, str]) -> None:
    artifact, database = built
    assert ": never calibrated" in call("features", "search", "sun", "--db", database).stdout
    done = call("calibrate", artifact.folder, bundled_model(), "--db", database, "--budget", "10min")
    rows = [line.split("│")[1].strip() for line in done.stdout.splitlines() if line.startswith("│")]
    assert rows == ["sea: word", "sun: word", "law: word", "war: word"]
    assert "steerability" in done.stdout
    assert ": never calibrated" not in call("features", "search", "sun", "--db", database).stdout
    with closing(open_store(database)) as store, store.read() as reader:
        assert not any(f.never_steered for f in reader.features("sae"))


def test_with_names_it_calibrates_just_these(built: tuple[Artifact, str]) -> None:
    artifact, database = built
    done = call("calibrate", "sae", bundled_model(), "--db", database, "--feature", "war", "--feature", "sun")
    rows = [line.split("│")[1].strip() for line in done.stdout.splitlines() if line.startswith("│")]
    assert sorted(rows) == ["sun: word", "war: word"]
    with closing(open_store(database)) as store, store.read() as reader:
        assert sum(f.never_steered for f in reader.features("sae")) == 2
    assert artifact.manifest.name == "sae"


def test_a_budget_of_tokens_is_no_time(built: tuple[Artifact, str]) -> None:
    artifact, database = built
    with pytest.raises(InvalidInput, match="give a time"):
        call("calibrate", artifact.folder, bundled_model(), "--db", database, "--budget", "2M")
