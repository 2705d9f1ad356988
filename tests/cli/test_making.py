"""What `featurehub train` and `build` make of their options, without the runs that follow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.errors import FeaturehubError, InvalidInput
from featurehub.runs import build as building
from featurehub.runs import train as training
from featurehub.runs.training import TrainPlan
from saes.architecture import Architecture
from saes.budget import Budget
from saes.defaults import default_recipe

Plan = Callable[..., TrainPlan]


class Stopped(Exception): ...


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan that a command's options come to."""
    text = tmp_path / "text.json"
    text.write_text(json.dumps(["the loan is good ."] * 100))
    plans: list[TrainPlan] = []

    def keep(plan: TrainPlan, *_: Any) -> None:
        plans.append(plan)
        raise Stopped

    monkeypatch.setattr(training, "train_artifacts", keep)
    monkeypatch.setattr(building, "build", keep)

    def call(command: str, *options: object) -> TrainPlan:
        given = [command, str(bundled_model()), "--text", str(text), "--out", str(tmp_path / "out"), *map(str, options)]
        done = CliRunner().invoke(app, given)
        if isinstance(done.exception, FeaturehubError):
            raise done.exception
        assert isinstance(done.exception, Stopped), done.output
        return plans.pop()

    return call


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A random SAE of what the second layer's MLP adds."""
    folder, hook = tmp_path / "parent", HookPoint(layer=1, site=Site.MLP_OUT)
    folder.mkdir()
    W = torch.randn(24, 192, generator=torch.Generator().manual_seed(0))
    Dictionary(W.clone(), W, torch.zeros(24), torch.zeros(192), torch.zeros(24)).save(folder / WEIGHTS)
    fields = {
        "name": "parent", "architecture": "topk", "d_model": 192, "d_sae": 24, "k": 3.0, "hook": hook, "dataset": {},
        "model": identify(bundled_model(), hook), "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    artifact: Artifact = seal(folder, fields)
    return artifact.folder


@pytest.mark.parametrize("command", ["train", "build"])
def test_without_options_everything_follows_from_the_model(plan: Plan, command: str) -> None:
    made = plan(command)
    assert made.training.recipes == (default_recipe(192),)
    assert (made.layer, made.site, made.material.max_tokens) == (None, Site.RESID_POST, None)
    training = made.training
    assert (training.parents, training.shards) == ((), None)
    assert (training.config.tokens, training.config.batch_tokens, training.buffer_tokens) == (1_600_000, 2048, 65_536)
    assert training.budget == Budget()
    assert made.material.text.endswith("text.json")
    assert getattr(made, "patient", False) is False


def test_every_option_arrives(plan: Plan, tmp_path: Path) -> None:
    made = plan(
        "train", "--architecture", "topk", "--architecture", "jumprelu", "--latents", 32, "--seed", 4, "--k", 5,
        "--lr", 0.01, "--tokens", 9000, "--batch-tokens", 64, "--buffer-tokens", 128, "--max-tokens", 50,
        "--layer", 2, "--site", "mlp_out", "--shards", tmp_path / "shards", "--budget", "5k",
    )  # fmt: skip
    forms = [(r.architecture, r.d_sae, r.k, r.lr, r.seed) for r in made.training.recipes]
    assert forms == [(name, 32, 5, 0.01, 4) for name in (Architecture.TOPK, Architecture.JUMPRELU)]
    training = made.training
    assert (training.config.tokens, training.config.batch_tokens, training.buffer_tokens) == (9000, 64, 128)
    assert (made.layer, made.site, made.material.max_tokens) == (2, Site.MLP_OUT, 50)
    assert (training.shards, training.budget) == (tmp_path / "shards", Budget(tokens=5000))


def test_with_a_parent_form_and_place_are_its(plan: Plan, parent: Path) -> None:
    made = plan("train", "--parent", parent, "--tokens", 5000)
    [recipe] = made.training.recipes
    assert (recipe.architecture, recipe.d_sae, recipe.k) == (Architecture.TOPK, 24, 3)
    assert (made.layer, made.site, made.training.parents) == (1, Site.MLP_OUT, (parent.resolve(),))
    assert recipe.parent == Path(parent / "manifest.json").read_text().split('"id": "')[1][:64]


@pytest.mark.parametrize("options", [("--latents", 32), ("--layer", 2), ("--site", "resid_post")])
def test_an_option_that_contradicts_the_parent_is_refused(plan: Plan, parent: Path, options: tuple[object]) -> None:
    with pytest.raises(InvalidInput, match="leave out") as refused:
        plan("train", "--parent", parent, *options)
    assert refused.value.param == "parent"
