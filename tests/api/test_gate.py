"""What stands before every route."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from api import errors
from api.gate import Gate

BODY = {"input": "hello", "features": {"banking": 0.5}}


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    errors.install(app)
    app.add_middleware(Gate, max_body=1000)

    @app.post("/v1/messages")
    @app.post("/v1/completions")
    async def length(request: Request) -> int:
        return len(await request.body())

    return app


def post(app: FastAPI, path: str, **request: Any) -> Any:
    return TestClient(app).post(path, **request)


@pytest.mark.parametrize("key", ["features", "steer", "return_activations"])
def test_our_keys_are_refused_where_nothing_reads_them(app: FastAPI, key: str) -> None:
    answer = post(app, "/v1/messages", json={"input": "hello", key: {"some": "thing"}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, key)


def test_so_is_steering_that_goes_round_our_checks(app: FastAPI) -> None:
    answer = post(app, "/v1/messages", json={"input": "hello", "vllm_xargs": {"featurehub": "{}"}})
    assert answer.json()["error"]["param"] == "vllm_xargs.featurehub"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", BODY),
        ("/v1/messages", {"input": "hello"}),
        ("/v1/messages", {"input": "hello", "features": {}}),
        ("/v1/messages", ["features"]),
    ],
)
def test_all_else_passes(app: FastAPI, path: str, body: Any) -> None:
    answer = post(app, path, json=body)
    assert (answer.status_code, answer.json()) == (200, int(answer.request.headers["content-length"]))


def test_a_body_that_is_not_json_is_the_routes_affair(app: FastAPI) -> None:
    headers = {"content-type": "application/json"}
    assert post(app, "/v1/messages", content=b"{", headers=headers).json() == 1
    assert post(app, "/v1/messages", content=b"[" * 900, headers=headers).json() == 900
    assert post(app, "/v1/messages", data={"features": "x" * 2000}).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_behind_a_proxy_that_keeps_its_prefix(app: FastAPI, prefix: str) -> None:
    app.root_path = "/llm"
    assert post(app, f"{prefix}/v1/completions", json=BODY).status_code == 200
    answer = post(app, f"{prefix}/v1/messages", json=BODY)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "features")


@pytest.mark.parametrize(("root", "status"), [("", 200), ("/outer", 200)])
def test_inside_another_app(app: FastAPI, root: str, status: int) -> None:
    outer = FastAPI(root_path=root)
    outer.mount("/llm", app)
    assert post(outer, f"{root}/llm/v1/completions", json=BODY).status_code == status
    assert post(outer, f"{root}/llm/v1/messages", json=BODY).status_code == 400


def test_a_prefix_ends_with_a_part_of_the_path(app: FastAPI) -> None:
    app.root_path = "/v1"
    assert post(app, "/v1/v1/completions", json=BODY).status_code == 200
    assert post(app, "/v1/completions", json=BODY).status_code == 400


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages"])
def test_a_large_body_is_refused(app: FastAPI, path: str) -> None:
    answer = post(app, path, json={"prompt": "x" * 1000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert post(app, path, json={"prompt": "x" * 900}).status_code == 200


def test_also_where_it_does_not_say_its_length(app: FastAPI) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b'"' + b"x" * 98 + b'"'

    headers = {"content-type": "application/json"}
    assert post(app, "/v1/completions", content=pieces(), headers=headers).status_code == 413
