"""``lookup``, ``neighbors`` and ``rerank``: routes about features that a request names."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from featurehub.embedding import FakeEmbedder, QueryEmbedder
from featurehub.runs.embed import embed_features
from featurehub.store import Store
from tests.api.conftest import CHECKED, OTHER_SAE, SAE

EMBEDDER = FakeEmbedder({"money": "banking", "official": "formal"})


@pytest.fixture(autouse=True)
def meaning(client: TestClient, store: Store) -> None:
    embed_features(store, EMBEDDER)
    state: Any = client.app.state  # type: ignore[attr-defined]
    state.featurehub = replace(state.featurehub, embedder=QueryEmbedder(lambda: EMBEDDER))


def ask(client: TestClient, word: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/features/{word}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def latents(found: dict[str, Any]) -> list[int]:
    assert found["object"] == "list"
    return [each["latent"] for each in found["data"]]


def test_features_are_looked_up_by_all_that_names_them(client: TestClient) -> None:
    banking = client.get("/v1/features/banking").json()["id"]
    found = ask(client, "lookup", features=[7, "formal tone", "sae:demo-l2/3", banking, 0, 2, 13])
    assert latents(found) == [7, 1, 3, 2, 0]
    assert found["missing"] == [13]
    assert {each["state"] for each in found["data"]} == {"fresh"}
    assert latents(ask(client, "lookup", features=[0], sae="other")) == [0]
    assert ask(client, "lookup", features=[0], sae="other")["data"][0]["artifact"] == OTHER_SAE


def test_states_are_those_of_the_loaded_model(serve: Callable[..., TestClient]) -> None:
    found = ask(serve(CHECKED), "lookup", features=[0, 1])
    assert [each["state"] for each in found["data"]] == ["stale", "fresh"]


def test_what_is_near_to_one_and_to_several(client: TestClient) -> None:
    near = client.get("/v1/features/formal tone/neighbors", params={"limit": 2}).json()
    assert set(latents(near)) == {3, 7}
    assert [each["found"][0]["source"] for each in near["data"]] == ["label", "label"]
    several = ask(client, "neighbors", features=["formal tone", "formal letters"], limit=1)
    assert latents(several) == [3]
    assert latents(ask(client, "neighbors", features=["formal tone"], sae="other")) == [0]


def test_a_query_puts_features_in_order(client: TestClient) -> None:
    named = ["excited tone", "banking", "formal letters"]
    assert latents(ask(client, "rerank", query="formal", features=named)) == [7, 3, 2]
    assert latents(ask(client, "rerank", query="money", features=named, limit=1)) == [2]


def test_a_group_stands_for_its_features(client: TestClient, store: Store) -> None:
    ids = {each: client.get(f"/v1/features/sae:demo-l2/{each}").json()["id"] for each in (1, 7)}
    with store.write() as writer:
        writer.put_group("manners", dict.fromkeys(ids.values(), 1.0))
    assert latents(ask(client, "rerank", query="letters", features=["manners", "banking"])) == [7, 1, 2]
    assert not set(latents(ask(client, "neighbors", features=["manners"]))) & {1, 7}


BAD: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("lookup", {"features": []}, 400, "features"),
    ("lookup", {"features": [-1]}, 400, None),
    ("lookup", {"features": ["formul tone"]}, 404, "features"),
    ("lookup", {"features": ["twin"]}, 409, "features"),
    ("lookup", {"features": [1] * 65}, 400, "features"),
    ("lookup", {"features": [1], "sae": "missing"}, 404, "sae"),
    ("neighbors", {"features": ["twin"]}, 409, "features"),
    ("neighbors", {"features": ["banking"], "limit": 0}, 400, "limit"),
    ("rerank", {"features": ["banking"]}, 400, "query"),
    ("rerank", {"features": ["banking"], "query": " "}, 400, "query"),
    ("rerank", {"features": ["nothing like it"], "query": "x"}, 404, "features"),
]


def test_bad_bodies(client: TestClient) -> None:
    for word, body, status, param in BAD:
        found = ask(client, word, status, **body)["error"]["param"]
        assert param is None or found == param


def test_an_index_needs_to_be_one_of_a_single_sae(client: TestClient) -> None:
    state: Any = client.app.state  # type: ignore[attr-defined]
    state.featurehub = replace(state.featurehub, served=None)
    refused = ask(client, "lookup", 400, features=[1])["error"]
    assert (refused["param"], "'demo-l2', 'other'" in refused["message"]) == ("sae", True)


def test_an_sae_that_was_removed_while_it_is_served_is_named(client: TestClient, store: Store) -> None:
    with store.write() as writer:
        writer.remove_artifact(SAE)
    edits = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "features": {"banking": 0.5}}
    for answer in (client.get("/v1/features/banking"), client.post("/v1/chat/completions", json=edits)):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "artifact_not_found")
        assert f"the SAE {SAE[:12]} is in use here and is not registered any more" in error["message"]
