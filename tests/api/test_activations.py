"""``/v1/features/activations``: which columns there are, and what is packed into them."""

from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.engine import FakeEngine
from featurehub.activations import ActivationTotals
from featurehub.matrix import ENTRIES_MAX, PackedMatrix
from tests.api.conftest import SAE
from tests.api.reports import reading

TOKENS = ((10, {0: 2.0, 6: 1.0}), (11, {2: 3.0}), (12, {}), (13, {2: 0.5, 0: 0.25}))
TEXT = "a b c d"


def totals(active: int) -> dict[str, Any]:
    """Of one latent that is active at so many tokens."""
    buffers = {name: np.array([n], kind).tobytes() for name, n, kind in (
        ("latents", 2, "<i4"), ("counts", active, "<i4"), ("sums", 1.0, "<f4"), ("maxima", 1.0, "<f4"),
    )}  # fmt: skip
    return ActivationTotals(sae=SAE, tokens=len(TOKENS), **buffers).model_dump()


def reported(*tokens: tuple[int, dict[int, float]], active: int = 5) -> dict[str, Any]:
    report = reading(*tokens)
    report["activations"]["totals"] = [totals(active)]
    return report


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(default=reported(*TOKENS))


def ask(client: TestClient, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/features/activations", json={"text": TEXT} | body)
    assert answer.status_code == status, answer.text
    return answer.json()


def dense(packed: dict[str, Any]) -> list[list[float]]:
    """The matrix from its definition, entry by entry."""
    buffers = {name: b64decode(packed[name]) for name in ("starts", "indices", "values")}
    starts, indices = (np.frombuffer(buffers[name], "<i4").tolist() for name in ("starts", "indices"))
    values = np.frombuffer(buffers["values"], "<f4").tolist()
    matrix = [[0.0] * packed["columns"] for _ in range(packed["rows"])]
    for row in range(packed["rows"]):
        for at in range(starts[row], starts[row + 1]):
            matrix[row][indices[at]] = values[at]
    return matrix


def test_all_that_is_active_is_a_column(client: TestClient, engine: FakeEngine) -> None:
    found = ask(client)
    assert [(each["latent"], each["label"]) for each in found["features"]] == [
        (0, "pirate speech: matey, ship"), (2, "banking: loan, deposit"), (6, ""),
    ]  # fmt: skip
    assert dense(found["matrix"]) == [[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.25, 0.5, 0.0]]
    assert (len(found["tokens"]), found["content"]) == (4, [False, True, True, True])
    assert found["warnings"] == []
    [(_, steering)] = engine.ran
    [read] = steering.reads
    assert (read.top_k, read.latents, read.totals) == (64, (), ((0, 4),))


def test_named_features_are_the_columns_in_the_order_of_the_request(client: TestClient, engine: FakeEngine) -> None:
    named = {0: 0.0, 2: 0.0, 1: 0.0}
    engine.default = reported(*((token, named | {k: v for k, v in own.items() if k in named}) for token, own in TOKENS))
    found = ask(client, features=["formal tone", "banking", "pirate speech"])
    assert [each["latent"] for each in found["features"]] == [1, 2, 0]
    assert dense(found["matrix"]) == [[0, 0, 2.0], [0, 3.0, 0], [0, 0, 0], [0, 0.5, 0.25]]
    [read] = engine.ran[0][1].reads
    assert (read.top_k, read.latents) == (0, (0, 1, 2))


def test_more_active_latents_than_a_token_shows_are_warned_of(client: TestClient, engine: FakeEngine) -> None:
    engine.default = reported(*TOKENS, active=9)
    [warning] = ask(client)["warnings"]
    assert (warning["code"], warning["sae"]) == ("activations_cut", SAE)
    assert warning["message"].startswith("9 activations are not 0")


def test_nothing_active_is_a_matrix_without_columns(client: TestClient, engine: FakeEngine) -> None:
    report = reported(*((token, {}) for token, _ in TOKENS))
    report["activations"]["totals"][0] |= dict.fromkeys(("latents", "counts", "sums", "maxima"), b"")
    engine.default = report
    found = ask(client)
    assert (found["features"], dense(found["matrix"])) == ([], [[], [], [], []])


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, 400, None),
        ({"features": ["no such"]}, 404, "features"),
        ({"features": ["banking"], "sae": "demo-l2"}, 400, "sae"),
        ({"sae": "missing"}, 404, "sae"),
        ({"features": ["x"] * 65}, 400, "features"),
        ({"text": "a " * (ENTRIES_MAX // 64 + 1)}, 400, None),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], status: int, param: str | None) -> None:
    assert ask(client, status, **body)["error"]["param"] == param


@pytest.mark.parametrize(
    ("starts", "indices", "values"),
    [
        ([0, 1], [0], []),
        ([0, 2, 1], [0], [1.0]),
        ([1, 1], [0], [1.0]),
        ([0, 1], [3], [1.0]),
        ([0, 1], [-1], [1.0]),
        ([], [], []),
    ],
)
def test_buffers_that_do_not_fit_are_refused(starts: list[int], indices: list[int], values: list[float]) -> None:
    buffers = [np.array(each, kind).tobytes() for each, kind in ((starts, "<i4"), (indices, "<i4"), (values, "<f4"))]
    with pytest.raises(ValueError, match=r"matrix|column|rows"):
        PackedMatrix.pack(3, *buffers)
