"""A server of an SAE that was refreshed: names and ids from before, and variants that have them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from api.fake import Echoes, create_fake_app
from api.model import ServedModel
from featurehub.edits import Steering
from featurehub.features import Edit
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.store import Calibration, FeatureRow, Provenance, Scope, Store
from tests.api.conftest import LABELS, SAE, manifest
from tests.api.models import model
from tests.api.reports import report
from tests.labels import labeled

REFRESHED = "c" * 64
PIRATE, TONE, BANK, LETTERS = 0, 1, 2, 7
FATES = {
    TONE: {"fate": Fate.KEPT},
    PIRATE: {"fate": Fate.RELABELLED, "new_label": "ships", "successor": 3, "moved": True, "successor_label": "sea"},
    BANK: {"fate": Fate.RELABELLED, "new_label": "rivers", "successor": TONE, "successor_label": "formal tone"},
    LETTERS: {"fate": Fate.RETIRED},
}
NOW = {PIRATE: "ships", TONE: "formal tone", BANK: "rivers", 3: "sea"}


def fates() -> tuple[RefreshedFeature, ...]:
    return tuple(
        RefreshedFeature.model_validate({"latent": each, "label": LABELS[each], "reason": "its F1 fell", **FATES[each]})
        for each in sorted(FATES)
    )


@pytest.fixture
def refreshed(store: Store, engine: FakeEngine) -> Iterator[TestClient]:
    """A client of a server that has the refreshed SAE alone; a variant was saved before the refresh."""
    with store.write() as writer:
        edits = {"formal tone": Edit(weight=0.5), "pirate speech": Edit(weight=-0.5)}
        writer.variants.save("kept-and-moved", "demo", edits, scope=Scope(saes=(SAE,)))
        writer.variants.save("lost", "demo", {"formal letters": Edit(weight=0.5)}, scope=Scope(saes=(SAE,)))
        made = manifest(REFRESHED, "demo-l2-new").model_copy(update={"parent": SAE, "model": model("r" * 64)})
        writer.put_artifact(made, "/nowhere")
        rows = [FeatureRow(latent=each, density=0.01, max_activation=3.0) for each in sorted(NOW)]
        ids = dict(zip(sorted(NOW), writer.put_features(REFRESHED, rows), strict=True))
        writer.put_refresh(
            RefreshReport(
                parent=SAE, artifact=REFRESHED, model="new", fingerprint=made.model.function, created="2026-01-01",
                explained_variance_before=0.9, explained_variance_stale=0.8, features=fates(),
            ),
            names=True,
        )  # fmt: skip
        by_hand = Provenance(author="test", method="by hand")
        writer.put_labels({ids[each]: (labeled(label, score=0.9), by_hand) for each, label in NOW.items()})
        strength = Calibration(strength=7.0, dose=0.3, steerability=0.8)
        writer.put_calibrations(dict.fromkeys(ids.values(), strength))
    served = ServedModel.model_validate(
        {"store": "unused", "saes": [REFRESHED], "names": ("demo",), "model": model("r" * 64)}
    )
    engine.default = report(7)
    with TestClient(create_fake_app(store, served, engine), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def former(store: Store) -> dict[int, str]:
    """Ids from before the refresh, by latent."""
    with store.read() as reader:
        return {each.latent: each.id for each in reader.features(SAE)}


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "tell me a story"}]
    answer = client.post("/v1/chat/completions", json={"model": "demo", "messages": messages} | body)
    assert answer.status_code == status, answer.text
    return answer.json()["featurehub"] if status == 200 else answer.json()["error"]


def sent(client: TestClient) -> Steering:
    echoed: Echoes = client.app.state.echoed  # type: ignore[attr-defined]
    asked = echoed[-1].vllm_xargs
    assert asked is not None
    return Steering.read(asked["featurehub"])


@pytest.mark.parametrize("key", ["formal tone", TONE])
def test_a_kept_feature_answers_to_its_name_and_to_the_id_that_it_had(
    refreshed: TestClient, former: dict[int, str], key: str | int
) -> None:
    said = ask(refreshed, features={key if isinstance(key, str) else former[key]: 1.0})
    assert said["warnings"] == []
    [edit] = sent(refreshed).edits
    assert (edit.sae, edit.latent, edit.value) == (REFRESHED, TONE, 7.0)


@pytest.mark.parametrize("key", ["pirate speech", "Pirate speech: matey, ship", PIRATE])
def test_a_name_that_moved_is_answered_with_a_warning(
    refreshed: TestClient, former: dict[int, str], key: str | int
) -> None:
    said = ask(refreshed, features={key if isinstance(key, str) else former[key]: 1.0})
    [warning] = said["warnings"]
    assert warning["code"] == "feature_moved"
    assert "'sea' (latent 3)" in warning["message"]
    assert [each.latent for each in sent(refreshed).edits] == [3]
    assert ask(refreshed, features={"sea": 1.0})["warnings"] == []


@pytest.mark.parametrize(("key", "closest"), [("banking", ["formal tone"]), ("formal letters", []), (LETTERS, [])])
def test_a_retired_name_is_gone_and_nothing_is_answered(
    refreshed: TestClient, former: dict[int, str], key: str | int, closest: list[str]
) -> None:
    name = key if isinstance(key, str) else former[key]
    error = ask(refreshed, 410, features={name: 1.0})
    assert (error["code"], error["type"], error["param"]) == ("feature_retired", "gone_error", f"features.{name}")
    assert error["suggestions"] == closest
    assert "the SAE 'demo-l2-new' was refreshed" in error["message"]
    assert refreshed.get(f"/v1/features/{name}").status_code == 410
    assert refreshed.post("/v1/features/lookup", json={"features": [name]}).status_code == 410


def test_a_variant_from_before_has_the_features_as_they_are_now(refreshed: TestClient) -> None:
    said = ask(refreshed, model="kept-and-moved")
    assert [(each.latent, each.value) for each in sent(refreshed).edits] == [(TONE, 3.5), (3, -3.5)]
    [warning] = said["warnings"]
    assert (warning["code"], "'pirate speech'" in warning["message"]) == ("feature_moved", True)
    ask(refreshed, model="kept-and-moved", features={"formal tone": 0.1})
    assert sorted((each.latent, round(each.value, 3)) for each in sent(refreshed).edits) == [(TONE, 0.7), (3, -3.5)]
    error = ask(refreshed, 410, model="lost")
    assert (error["code"], error["param"]) == ("feature_retired", "model")
    assert "'formal letters' of the variant 'lost@1'" in error["message"]


def test_a_variant_says_which_of_its_features_moved(refreshed: TestClient, former: dict[int, str]) -> None:
    found = refreshed.get("/v1/variants/kept-and-moved").json()
    assert found["pinned"]["formal tone"]["id"] == former[TONE]
    tone, pirate = found["fates"]["formal tone"], found["fates"]["pirate speech"]
    assert (tone["fate"], tone["sae"], pirate["fate"], pirate["label"]) == ("kept", REFRESHED, "relabelled", "sea")
    [named] = refreshed.post("/v1/features/lookup", json={"features": ["sea"]}).json()["data"]
    assert pirate["feature"] == named["id"]
    [moved, lost] = refreshed.get("/v1/variants").json()["data"]
    assert moved == found
    fate = lost["fates"]["formal letters"]
    assert (fate["fate"], fate["feature"], fate["reason"]) == ("retired", None, "its F1 fell")
    assert refreshed.get("/v1/variants/lost/versions").json()["data"] == [lost]


def test_where_the_sae_before_is_served_nothing_changed(
    refreshed: TestClient, serve: Callable[..., TestClient]
) -> None:
    client = serve()
    assert ask(client, features={"pirate speech": 1.0})["warnings"] == []
    assert ask(client, model="lost")["warnings"] == []
    assert client.get("/v1/variants/lost").json()["fates"] == {}
