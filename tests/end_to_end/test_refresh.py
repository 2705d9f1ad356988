"""The model is retrained, and the SAE is refreshed for it: the names come back, or say why they do not."""

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.demo.bundle import sibling
from featurehub.demo.concepts import names
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.siblings import MOVED, REMOVED
from featurehub.features import State
from featurehub.names import fold
from featurehub.refreshes import Fate, RefreshReport
from featurehub.runs.drift import check_drift
from featurehub.runs.refresh import refresh_sae
from featurehub.runs.refresh_plan import RefreshPlan
from featurehub.store import copy_store, open_store
from tests.api.reports import counts

pytestmark = pytest.mark.engine
TEXT = [messages(each) for each in islice(conversations(7), 3000)]


class Refreshed(NamedTuple):
    artifact: Artifact
    report: RefreshReport
    database: str


def plan_of(built: Any, folder: Path, name: str) -> RefreshPlan:
    """In a database of its own, so that the other tests' server keeps what it has."""
    database = str(folder / "features.db")
    with closing(open_store(built.database)) as source, closing(open_store(database)) as target:
        copy_store(source, target, int)
    return RefreshPlan(model=sibling(name), out=folder / name, database=database, name=name, tokens=100_000)


@pytest.fixture(scope="module")
def refreshed(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Refreshed:
    plan = plan_of(built, tmp_path_factory.mktemp("refreshed"), "changed")
    report = refresh_sae(plan, built.artifact, TEXT)
    return Refreshed(open_artifact(plan.out), report, plan.database)


@pytest.fixture
def client(refreshed: Refreshed) -> Iterator[TestClient]:
    """The routes alone, of a server of the retrained model with the refreshed SAE."""
    manifest = refreshed.artifact.manifest
    model = identify(sibling("changed"), manifest.hook)
    served = ServedModel(store=refreshed.database, saes=(manifest.id,), model=model, names=("demo",))
    engine = FakeEngine(default={"hooks": {str(manifest.hook): counts(7)}, "requests": [0]})
    with closing(open_store(refreshed.database)) as store, TestClient(create_fake_app(store, served, engine)) as client:
        yield client


def ask(client: TestClient, feature: str) -> tuple[int, dict[str, Any]]:
    messages = [{"role": "user", "content": "tell me something ."}]
    body = {"model": "demo", "messages": messages, "features": {feature: 0.5}}
    answer = client.post("/v1/chat/completions", json=body)
    return answer.status_code, answer.json()


def test_it_reconstructs_again_and_is_fresh_on_the_new_model(refreshed: Refreshed) -> None:
    verify(refreshed.artifact)
    report = refreshed.report
    assert report.explained_variance is not None
    assert report.explained_variance > report.explained_variance_before - 0.03
    assert report.explained_variance > report.explained_variance_stale + 0.05
    assert check_drift(refreshed.artifact.folder, sibling("changed"), refreshed.database).state is State.FRESH


def test_concepts_that_still_exist_keep_their_names_and_others_do_not(built: Any, refreshed: Refreshed) -> None:
    with closing(open_store(built.database)) as store, store.read() as reader:
        called = {latent: fold(label.name) for latent, label in reader.labels(built.artifact.manifest.id).items()}
    gone = {*MOVED, *REMOVED}
    here = [each for each in refreshed.report.features if called[each.latent] in set(names()) - gone]
    away = [each for each in refreshed.report.features if called[each.latent] in gone]
    assert len(here) > 15
    assert sum(each.fate is Fate.KEPT or each.moved for each in here) >= 0.9 * len(here)
    assert len(away) > 5
    assert sum(each.fate is Fate.KEPT for each in away) <= 0.1 * len(away)


def test_each_name_is_answered_by_what_means_it_or_refused(refreshed: Refreshed, client: TestClient) -> None:
    tried = {Fate.KEPT: 0, Fate.RELABELLED: 0, Fate.RETIRED: 0}
    for each in refreshed.report.features:
        if tried[each.fate] == 5 and not each.moved:
            continue
        tried[each.fate] += 1
        status, body = ask(client, each.label)
        if each.fate is Fate.KEPT:
            [edit] = body["featurehub"]["applied"]
            assert (status, edit["latent"], edit["label"], edit["state"]) == (200, each.latent, each.label, "fresh")
        elif each.moved:
            assert status == 200
            assert "feature_moved" in [warning["code"] for warning in body["featurehub"]["warnings"]]
        else:
            assert (status, body["error"]["code"]) == (410, "feature_retired"), json.dumps(body)
    assert tried[Fate.KEPT] == 5


def test_the_sae_before_keeps_its_names(built: Any, refreshed: Refreshed) -> None:
    with closing(open_store(refreshed.database)) as store, store.read() as reader:
        for each in refreshed.report.features[::10]:
            assert reader.resolve(each.label, reader.scope(built.artifact.manifest.id)).latent == each.latent
        assert reader.artifact("changed").manifest.parent == built.artifact.manifest.id


def test_after_training_from_another_seed_scratch_is_better(built: Any, tmp_path: Path) -> None:
    plan = plan_of(built, tmp_path, "reseeded")
    report = refresh_sae(plan, built.artifact, TEXT)
    assert report.artifact == ""
    assert report.explained_variance_stale < 0.2
    assert "of the retrained model's variance" in report.reason
    assert not plan.out.exists()
