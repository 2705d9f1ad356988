"""The model is retrained: what the check says of its siblings, and what serving does with it."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.artifacts.fingerprint import identify
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.demo.concepts import names
from featurehub.features import State
from featurehub.runs.drift import check_drift
from featurehub.store import Store, open_store
from featurehub.verdicts import DriftReport
from tests.api.reports import counts

pytestmark = pytest.mark.engine


def check(built: Any, model: Path) -> DriftReport:
    return check_drift(built.artifact.folder, model, built.database)


def flagged(built: Any, report: DriftReport) -> list[str]:
    """Of the features that a concept's name stands for."""
    with closing(open_store(built.database)) as store, store.read() as reader:
        labels = reader.labels(report.artifact)
    concepts = [verdict for verdict in report.features if labels[verdict.latent].name in names()]
    assert len(concepts) > 15
    return [verdict.label for verdict in concepts if verdict.state is State.STALE]


def test_the_unchanged_model_is_fresh_without_being_run(built: Any) -> None:
    report = check(built, bundled_model())
    assert report.state is State.FRESH
    assert report.exit_code == 0
    assert all(verdict.state is State.FRESH for verdict in report.features)


def test_the_judge_that_judged_first_is_on_record(built: Any) -> None:
    assert built.artifact.manifest.judge == "recognizer"


def test_a_configuration_that_changed_is_looked_into(built: Any, tmp_path: Path) -> None:
    """The weights are the same; the positions mean something else."""
    model = shutil.copytree(bundled_model(), tmp_path / "rope")
    config = json.loads((model / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 50.0
    (model / "config.json").write_text(json.dumps(config))
    report = check(built, model)
    assert "explained_variance_new" in report.metrics
    assert any(verdict.state is State.STALE for verdict in report.features)


def test_rounding_to_bf16_flags_nothing(built: Any, tmp_path: Path) -> None:
    model = shutil.copytree(bundled_model(), tmp_path / "rounded")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    report = check(built, model)
    assert "explained_variance_new" in report.metrics
    assert flagged(built, report) == []


def test_a_model_from_another_seed_is_stale_as_a_whole(built: Any) -> None:
    report = check(built, sibling("reseeded"))
    assert report.state is State.STALE
    assert report.exit_code == 4
    assert all(verdict.state is State.STALE for verdict in report.features)


def test_a_changed_model_flags_some_features_and_the_routes_refuse_them(built: Any) -> None:
    """The routes alone, of the report as it is stored; a server of this model is in ``test_tour``."""
    report = check(built, sibling("changed"))
    stale = flagged(built, report)
    assert stale
    assert len(stale) < len(report.features) / 2
    with closing(open_store(built.database)) as store, closing(routes(store, built, sibling("changed"))) as client:
        with store.read() as reader:
            assert reader.latest_report(built.artifact.manifest.id, report.fingerprint) == report
        refused = ask(client, features={stale[0]: 0.5})
        assert refused.status_code == 409
        assert report.id in refused.text
        warned = ask(client, features={stale[0]: 0.5}, steer={"on_stale": "warn"}).json()
        assert warned["featurehub"]["warnings"]
        assert ask(client).json()["choices"][0]["message"]["content"]


def routes(store: Store, built: Any, model: Path) -> TestClient:
    """Of a server of this model."""
    manifest = built.artifact.manifest
    served = ServedModel(
        store=built.database, saes=(manifest.id,), model=identify(model, manifest.hook), names=("demo",)
    )
    engine = FakeEngine(default={"hooks": {str(manifest.hook): counts(7)}, "requests": [0]})
    return TestClient(create_fake_app(store, served, engine))


def ask(client: TestClient, **options: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "tell me something ."}]
    return client.post("/v1/chat/completions", json={"model": "demo", "messages": messages} | options)
