"""Every error has a status, and the configuration of a server is checked."""

import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

import api
from api.errors import error_body, status_of
from api.fake import create_fake_app
from api.model import ServedModel
from featurehub import errors
from featurehub.errors import FeaturehubError, InvalidConfig
from featurehub.store import Store
from tests.api.models import model

STATUSES = {
    "InvalidInput": 400, "InvalidEdit": 400, "InvalidConfig": 400, "IncompatibleArtifact": 400,
    "NotFound": 404, "FeatureNotFound": 404, "ArtifactNotFound": 404, "ModelNotFound": 404,
    "VariantNotFound": 404, "FeatureRetired": 410,
    "AmbiguousFeature": 409, "StaleFeature": 409,
    "FeaturehubError": 500, "ArtifactError": 500, "CorruptArtifact": 500, "EngineError": 500, "UnsupportedModel": 500,
    "SteeringLost": 500, "BudgetExceeded": 500, "EngineUnavailable": 503, "SteeringUnsupported": 501,
    "OverheadExceeded": 503, "Forbidden": 403, "OperatorsRefused": 403,
    "EmbedderMismatch": 409, "EmbedderUnavailable": 503,
    "StoreError": 500, "StoreReadOnly": 500, "StoreBusy": 503, "StoreUnavailable": 503,
}  # fmt: skip


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_its_status(name: str) -> None:
    status, openai_type = status_of(getattr(errors, name)("message"))
    assert (status, openai_type.endswith("_error")) == (STATUSES[name], True)


def test_a_body_has_openais_keys_and_what_the_error_carries() -> None:
    error = errors.StaleFeature("old", param="features.x", report="r1", closest="y")
    assert error_body(error) == {
        "error": {"message": "old", "type": "conflict_error", "param": "features.x", "code": "stale_feature",
                  "report": "r1", "closest": "y"}
    }  # fmt: skip
    assert error_body(FeaturehubError("bad"))["error"] == {
        "message": "bad", "type": "server_error", "param": None, "code": "featurehub_error",
    }  # fmt: skip


def test_the_servers_configuration() -> None:
    served = ServedModel(store="s", saes=("a",), model=model(), overrides=("--dtype",))
    assert ServedModel.of(served.model_dump_json()) == served


@pytest.mark.parametrize("told", [None, "", "{}", "1", '{"store": "s"}', "text"])
def test_a_server_without_it(told: str | None) -> None:
    with pytest.raises(InvalidConfig, match="FEATUREHUB_FRONTEND"):
        ServedModel.of(told)


def test_the_registry_needs_neither_torch_nor_vllm() -> None:
    code = "import sys, api.app, api.fake; print([m for m in ('torch', 'vllm', 'sae_lens') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_says_what_it_is() -> None:
    assert 3 <= len((api.__doc__ or "").splitlines()) <= 30


def test_a_server_without_an_sae_says_that_another_try_is_no_use(store: Store) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "a"}], "features": {"banking": 0.5}}
    for served, engine in [(None, None), (ServedModel(store="", saes=("a" * 64,), model=model()), None)]:
        answer = TestClient(create_fake_app(store, served, engine)).post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "steering_unsupported")
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
