"""The OpenAPI document tells the truth: requests that are made from it get answers that it describes, and no 5xx.

What needs an engine is in ``tests/end_to_end/test_schema.py``, and at length in ``tests/benchmarks/schema.py``.
"""

from collections.abc import Callable
from dataclasses import replace

from fastapi import FastAPI
from fastapi.testclient import TestClient
from schemathesis import openapi

from tests.schema import DRAWS_ANSWERS, READS_TEXTS, holds, operations

KEY = "the operator's"


def test_answers_are_those_that_the_document_describes(serve: Callable[..., TestClient]) -> None:
    app: FastAPI = serve().app  # type: ignore[assignment]
    app.state.featurehub = replace(app.state.featurehub, operator_key=KEY)
    tried = {each.label: each for each in operations(openapi.from_asgi("/openapi.json", app))}
    for label in tried.keys() - READS_TEXTS - DRAWS_ANSWERS:
        holds(tried[label], examples=20, headers={"x-featurehub-key": KEY})
    assert {"GET /v1/features", "POST /v1/groups", "POST /v1/chat/completions"} <= tried.keys()
    assert tried.keys() >= READS_TEXTS | DRAWS_ANSWERS
