"""``POST /v1/features/{name}/labels``: a person's label."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from featurehub.store import open_store
from tests.api.conftest import LABELS, SAE, fill

KEY = {"x-featurehub-key": "operators only"}
NEW = {"label": "Note:  banking\nand money (loan)", "author": "Ada"}


@pytest.fixture
def client(location: str) -> Iterator[TestClient]:
    """A registry whose operators have a key."""
    store = open_store(location)
    with store.write() as writer:
        fill(writer, SAE, "demo-l2", LABELS)
    app = create_app(store)
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY["x-featurehub-key"])
    yield TestClient(app)
    store.close()


def get(client: TestClient, name: str) -> dict[str, Any]:
    return client.get(f"/v1/features/{name}").json()


def test_a_label_is_a_new_version_and_former_names_stay(client: TestClient) -> None:
    before = get(client, "banking")
    saved = client.post("/v1/features/banking/labels", json=NEW, headers=KEY).json()
    assert saved == get(client, before["id"])
    assert (saved["label"], saved["label_version"], saved["label_score"]) == (
        "Note: banking and money (loan)", 2, None,
    )  # fmt: skip
    assert saved["slug"] == "note-banking-and-money-loan"
    assert saved["labels"][0] == before["labels"][0]
    assert saved["labels"][1]["provenance"] == {
        "author": "Ada", "method": "person", "model": "", "prompt": "", "answer": "",
    }  # fmt: skip
    for name in (
        "Note: banking and money (loan)",
        "note: BANKING and money (loan)",
        "banking",
        LABELS[2],
        saved["slug"],
    ):
        assert get(client, name)["id"] == before["id"]
    for part in ("note", "Note: banking and money", "banking and money"):
        assert client.get(f"/v1/features/{part}").status_code == 404, "it is one name as a whole"
    assert saved["labels"][1]["outcome"] == {"label": "Note: banking and money (loan)", "score": None, "scores": {}}
    assert saved["strength"] == before["strength"]
    [first, *_] = client.get("/v1/features", params={"q": "money"}).json()["data"]
    assert first["id"] == before["id"]
    again = client.post(f"/v1/features/{before['id']}/labels", json=NEW, headers=KEY).json()
    assert again["label_version"] == 2


def test_a_feature_without_a_label_gets_its_first(client: TestClient) -> None:
    saved = client.post(f"/v1/features/sae:{SAE}/6/labels", json=NEW, headers=KEY).json()
    assert (saved["latent"], saved["label_version"]) == (6, 1)


def test_only_operators_give_labels(client: TestClient) -> None:
    for headers in ({}, {"x-featurehub-key": "guessed"}):
        assert client.post("/v1/features/banking/labels", json=NEW, headers=headers).status_code == 403
    assert get(client, "banking")["label_version"] == 1


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("nothing", {}, 404), ("twin", {}, 409), ("banking", {"label": ""}, 400), ("banking", {"label": " \0\n"}, 400),
        ("banking", {"label": "x" * 201}, 400), ("banking", {"author": " "}, 400), ("banking", {"score": 1.0}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_a_label_is_refused(client: TestClient, name: str, change: Any, status: int) -> None:
    answer = client.post(f"/v1/features/{name}/labels", json=NEW | change, headers=KEY)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert get(client, "banking")["label_version"] == 1
