"""What reads texts answers as a real server's OpenAPI document says; other routes: ``tests/api/test_schema.py``."""

import pytest
from schemathesis import openapi

from tests.schema import READS_TEXTS, holds, operations

pytestmark = pytest.mark.engine


def test_texts_are_read_as_the_document_describes(url: str) -> None:
    document = openapi.from_url(f"{url.removesuffix('/v1')}/openapi.json")
    tried = {each.label: each for each in operations(document)}
    for label in READS_TEXTS - {"POST /tokenize"}:
        holds(tried[label], examples=8)
    holds(tried["POST /v1/chat/completions"], examples=8)
