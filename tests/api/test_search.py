"""``GET /v1/features`` by meaning: filters, pages, explanations, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from featurehub.embedding import FakeEmbedder, QueryEmbedder
from featurehub.runs.embed import embed_features
from featurehub.store import Store

EMBEDDER = FakeEmbedder({"money": "banking", "buccaneer": "pirate"})


@pytest.fixture
def meaning(client: TestClient, store: Store) -> TestClient:
    """The server of ``client`` with an embedder, on features that were embedded."""
    embed_features(store, EMBEDDER)
    state: Any = client.app.state  # type: ignore[attr-defined]
    state.featurehub = replace(state.featurehub, embedder=QueryEmbedder(lambda: EMBEDDER))
    return client


def latents(client: TestClient, **query: Any) -> list[int]:
    answer = client.get("/v1/features", params=query)
    assert answer.status_code == 200, answer.text
    return [each["latent"] for each in answer.json()["data"]]


def test_what_shares_no_word_is_found(meaning: TestClient) -> None:
    page = meaning.get("/v1/features", params={"q": "money"}).json()
    assert (page["by_meaning"], page["data"][0]["latent"]) == (True, 2)
    assert page["data"][0]["found"] == []
    assert latents(meaning, q="pirate")[0] == latents(meaning, q="buccaneer")[0] == 0


def test_without_vectors_words_are_searched(client: TestClient) -> None:
    page = client.get("/v1/features", params={"q": "banking"}).json()
    assert (page["by_meaning"], page["data"][0]["latent"]) == (False, 2)


def test_a_search_explains(meaning: TestClient) -> None:
    [first, *_] = meaning.get("/v1/features", params={"q": "banking", "explain": True}).json()["data"]
    found = {each["source"]: each for each in first["found"]}
    assert {"exact", "name", "label"} <= found.keys()
    assert found["exact"] == {"source": "exact", "place": 1, "words": "banking", "similarity": None}
    assert 0.2 <= found["label"]["similarity"] <= 1.0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "fresh", "layer": 2}, {0, 1, 2, 3, 4, 5, 6, 7}), ({"layer": 3}, set()), ({"state": "stale"}, set()),
        ({"min_density": 0.5}, set()), ({"max_density": 0.005}, set()), ({"min_score": 0.5}, {0, 1, 2, 3, 4, 5, 7}),
        ({"steerable": True}, {0, 1, 2, 4, 5, 7}),
    ],
)  # fmt: skip
def test_filters(meaning: TestClient, query: dict[str, Any], expected: set[int]) -> None:
    assert set(latents(meaning, **query)) == expected
    assert set(latents(meaning, q="banking", **query)) <= expected
    assert (2 in latents(meaning, q="money", **query)) == (2 in expected)


def test_states_are_those_of_the_loaded_model(serve: Callable[..., TestClient]) -> None:
    drifted = serve("n" * 64)
    assert set(latents(drifted, state="stale")) == {0, 7}
    assert set(latents(drifted, state=["stale", "suspect"])) == {0, 2, 7}
    assert latents(drifted, state="stale", limit=1) != latents(drifted, state="stale", q="formal")[1:]


def test_pages_of_one_search_fit_together(meaning: TestClient) -> None:
    query = {"q": "formal tone", "limit": 2, "layer": 2}
    page = meaning.get("/v1/features", params=query).json()
    seen = [each["latent"] for each in page["data"]]
    while page["has_more"]:
        page = meaning.get("/v1/features", params={**query, "after": page["next"]}).json()
        seen += [each["latent"] for each in page["data"]]
    assert seen == latents(meaning, q="formal tone", limit=100, layer=2)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"min_density": -1}, "min_density"), ({"max_density": 2}, "max_density"), ({"min_score": 1.5}, "min_score"),
        ({"state": "odd"}, "state.0"), ({"layer": "x"}, "layer.0"), ({"layer": list(range(65))}, "layer"),
        ({"after": "x" * 201}, "after"),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(meaning: TestClient, query: dict[str, Any], param: str) -> None:
    answer = meaning.get("/v1/features", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_query_of_another_embedder_is_refused(meaning: TestClient, store: Store) -> None:
    embed_features(store, FakeEmbedder(identity="other"), "demo-l2")
    answer = meaning.get("/v1/features", params={"q": "money"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "embedder_mismatch")
    assert "featurehub features embed --sae demo-l2 --embedder fake" in answer.json()["error"]["message"]
    assert latents(meaning, q="gardening", artifact="other") == [0]
