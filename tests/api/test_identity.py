"""Fresh is what runs on the very function that the SAE was trained on, and nothing else; every route says the same."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.model import ServedModel
from api.plan import make_plan
from api.request import SteeringRequest
from featurehub.features import State
from featurehub.settings import Limits
from featurehub.store import Store
from featurehub.verdicts import DriftReport, FeatureVerdict
from tests.api.models import model

SAE = "a" * 64
PARTS = {"dtype": "precision", "config": "configuration", "tokenization": "tokenizer", "chat_template": "chat template"}
Serve = Callable[..., TestClient]


def ask(client: TestClient, status: int = 200, **body: Any) -> Any:
    chat = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "features": {"pirate speech": 0.5}}
    answer = client.post("/v1/chat/completions", json=chat | body)
    assert answer.status_code == status, answer.text
    return answer.json()


def states(client: TestClient) -> set[str]:
    """What every route says."""
    listed = [each["state"] for each in client.get("/v1/features").json()["data"]]
    cards = [each["state"] for each in client.get("/v1/saes").json()["data"]]
    one = client.get("/v1/features/banking").json()["state"]
    applied = ask(client)["featurehub"]["applied"][0]["state"]
    return {*listed, *cards, one, applied, client.get(f"/v1/saes/{SAE}").json()["state"], health(client)}


def health(client: TestClient) -> str:
    return client.get("/healthz").json()["state"]


def stale(**changed: str) -> DriftReport:
    return DriftReport(
        id="drift-2", artifact=SAE, model="demo", fingerprint=model(**changed).function, created="2026-01-03",
        state=State.STALE, reason="measured", metrics={"explained_variance_new": 0.9},
        features=(
            FeatureVerdict(
                latent=0, label="pirate speech: matey, ship", reads=State.STALE, steers=State.UNCHECKED, reason="gone"
            ),
        ),
    )  # fmt: skip


def test_the_very_function_is_fresh(serve: Serve) -> None:
    client = serve()
    assert states(client) == {"fresh"}
    assert ask(client)["featurehub"]["warnings"] == []
    card = client.get(f"/v1/saes/{SAE}").json()
    assert (card["differences"], card["overrides"]) == ([], [])


@pytest.mark.parametrize("part", PARTS)
def test_a_difference_in_one_part_alone_is_unchecked(serve: Serve, part: str) -> None:
    client = serve(**{part: "other"})
    assert states(client) == {"unchecked"}
    assert ask(client)["featurehub"]["warnings"][0]["code"] == "feature_unchecked"
    assert client.get(f"/v1/saes/{SAE}").json()["differences"] == [PARTS[part]]


@pytest.mark.parametrize("part", PARTS)
def test_a_stale_report_on_a_model_that_differs_in_one_part_alone_is_obeyed(
    serve: Serve, store: Store, part: str
) -> None:
    """The very scenario: only the template changed, the check said stale, and the server called everything fresh."""
    with store.write() as writer:
        writer.put_report(stale(**{part: "other"}))
    client = serve(**{part: "other"})
    error = ask(client, 409)["error"]
    assert (error["code"], error["report"]) == ("stale_feature", "drift-2")
    assert health(client) == "stale"
    assert ask(serve())["featurehub"]["applied"][0]["state"] == "fresh"


def test_an_artifact_that_does_not_record_the_configuration_is_unchecked(serve: Serve, store: Store) -> None:
    with store.write() as writer:
        manifest = writer.reader.artifact(SAE).manifest
        old = manifest.model_copy(update={"model": model(config="", tokenization="")})
        writer.put_artifact(old, "/nowhere")
    client = serve()
    assert ask(client)["featurehub"]["applied"][0]["state"] == "unchecked"
    assert client.get(f"/v1/saes/{SAE}").json()["differences"] == ["configuration", "tokenizer"]


def test_with_options_that_may_change_the_function_nothing_is_fresh(serve: Serve) -> None:
    client = serve(overrides=("--hf-overrides",))
    assert states(client) == {"unchecked"}
    (warning,) = ask(client)["featurehub"]["warnings"]
    assert "was not checked with --hf-overrides" in warning["message"]
    assert client.get(f"/v1/saes/{SAE}").json()["overrides"] == ["--hf-overrides"]


def test_what_is_stale_without_such_options_stays_stale_with_them(serve: Serve, store: Store) -> None:
    with store.write() as writer:
        writer.put_report(stale(config="other"))
    client = serve(config="other", overrides=("--chat-template",))
    assert ask(client, 409)["error"]["report"] == "drift-2"


def test_an_adapter_is_another_function(serve: Serve) -> None:
    client = serve()
    ours = ask(client, model="ft")["featurehub"]
    assert ours["applied"][0]["state"] == "unchecked"
    assert "the adapter 'ft'" in ours["warnings"][0]["message"]
    assert health(client) == "fresh"
    assert ask(client)["featurehub"]["applied"][0]["state"] == "fresh"


@pytest.mark.parametrize(("name", "code"), [("ft", "sae_unchecked"), ("demo", None)])
def test_what_is_read_with_an_sae_that_is_not_fresh_says_so(store: Store, name: str, code: str | None) -> None:
    asked = SteeringRequest.take({"return_activations": {"top_k": 2}}, Limits())
    served = ServedModel(store="", saes=(SAE,), model=model(), names=("demo",)).running(name)
    with store.read() as reader:
        notices = make_plan(asked, reader, served, Limits()).notices
    assert [notice.code for notice in notices] == ([code] if code else [])
