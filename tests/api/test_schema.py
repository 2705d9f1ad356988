"""The OpenAPI document tells the truth: requests that are made from it get answers that it describes, and no 5xx.

What reads texts needs an engine, and `tokenize` is vLLM's: `tests/end_to_end/test_schema.py` has them.
"""

from collections.abc import Callable
from dataclasses import replace

from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis import openapi

from tests.schema import holds, operations

KEY = "the operator's"
FEATURES, GOODFIRE = "POST /v1/features/", "POST /api/inference/v1/"
READS_TEXTS = {
    "POST /tokenize",
    *(f"{FEATURES}{name}" for name in ("activations", "attribute", "autoconditional", "autosteer")),
    *(f"{FEATURES}{name}" for name in ("contrast", "inspect", "logits")),
    *(f"{GOODFIRE}attributions/{name}" for name in ("compute-logit-attribution", "generate-contrastive-dataset")),
    *(f"{GOODFIRE}chat-attribution/{name}" for name in ("compute-features", "compute-logits", "contrast")),
    *(f"{GOODFIRE}features/{name}" for name in ("auto-conditional", "auto-edits")),
}


def test_answers_are_those_that_the_document_describes(serve: Callable[..., TestClient]) -> None:
    app: FastAPI = serve().app  # type: ignore[assignment]
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY)
    tried = [each for each in operations(openapi.from_asgi("/openapi.json", app)) if each.label not in READS_TEXTS]
    for each in tried:
        holds(each, examples=20, headers={"x-featurehub-key": KEY})
    assert {"GET /v1/features", "POST /v1/groups", "POST /v1/chat/completions"} <= {each.label for each in tried}
