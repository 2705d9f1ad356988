"""Requests that are made from an OpenAPI document, and what their answers must be."""

from collections.abc import Iterator, Mapping

from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

__all__ = ["DRAWS_ANSWERS", "READS_TEXTS", "holds", "operations"]

FEATURES, GOODFIRE = "POST /v1/features/", "POST /api/inference/v1/"
READS_TEXTS = {
    "POST /tokenize",
    *(f"{FEATURES}{name}" for name in ("activations", "attribute", "contrast", "inspect", "logits")),
    f"{GOODFIRE}attributions/compute-logit-attribution",
    *(f"{GOODFIRE}chat-attribution/{name}" for name in ("compute-features", "compute-logits", "contrast")),
}
"""What an engine must read texts for."""
DRAWS_ANSWERS = {
    *(f"{FEATURES}{name}" for name in ("autoconditional", "autosteer")),
    *(f"{GOODFIRE}features/{name}" for name in ("auto-conditional", "auto-edits")),
    f"{GOODFIRE}attributions/generate-contrastive-dataset",
}
"""What it must write dozens of answers for."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def operations(document: BaseSchema) -> Iterator[APIOperation]:
    """The operations of a document. Raises ValueError where one is not valid."""
    for found in document.get_all_operations():
        if isinstance(found, Err):
            raise ValueError(str(found.err()))
        yield found.ok()


def holds(
    operation: APIOperation, examples: int, headers: Mapping[str, str] | None = None, patience: float = 10.0
) -> None:
    """Sends requests to an operation.

    Args:
        operation: The operation.
        examples: How many requests; the same ones each time.
        headers: Of all requests.
        patience: Seconds that an answer may take.

    Raises:
        schemathesis.FailureGroup: An answer is a 5xx, or none that the document describes.
    """

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(operation.as_strategy())
    def answered(case: Case) -> None:
        case.call_and_validate(checks=CHECKS, headers=dict(headers or {}), timeout=patience)

    answered()
