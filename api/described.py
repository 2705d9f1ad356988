"""What the OpenAPI document says of steering, where vLLM's own classes say the rest of a request and its answer."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.request import Name, ReturnActivations
from featurehub.answers import AnswerReport
from featurehub.conditions import FeatureAbort
from featurehub.features import Edit, SteerOptions
from featurehub.settings import Limits

__all__ = ["STEERED", "STREAMED"]

LIMITS = Limits()
Weight = Annotated[float, Field(ge=-LIMITS.weight, le=LIMITS.weight)]
DEFINED = "#/$defs/"


class SteeringKeys(BaseModel):
    """The keys that featurehub adds to a request."""

    features: dict[str, Weight | Edit] = Field(
        default={},
        max_length=LIMITS.edits,
        description="What is steered, by name: a weight, or a mode and a condition.",
    )
    steer: SteerOptions = Field(default=SteerOptions(), description="Where it is steered, and what stale features do.")
    abort_when: tuple[FeatureAbort, ...] = Field(
        default=(), max_length=LIMITS.aborts, description="What ends the answer: `feature`, `op` and `value` each."
    )
    return_activations: ReturnActivations | tuple[Name, ...] | None = Field(
        default=None, description="Whose activations the answer tells, token by token: features, or the strongest."
    )


def resolved(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A JSON schema with its definitions in place of the references to them."""
    if isinstance(schema, list):
        return [resolved(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (name := schema.get("$ref", "")).startswith(DEFINED):
        return resolved(definitions[name.removeprefix(DEFINED)], definitions)
    return {key: resolved(value, definitions) for key, value in schema.items()}


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a class, without references."""
    whole = kind.model_json_schema()
    return resolved({key: value for key, value in whole.items() if key != "$defs"}, whole["$defs"])


def with_answer() -> dict[str, Any]:
    """An answer with the ``featurehub`` object, which it has where something was asked of features."""
    return {"type": "object", "properties": {"featurehub": described(AnswerReport)}}


STREAMED: dict[str, Any] = {"responses": {"200": {"content": {"text/event-stream": {}}}}}
"""``openapi_extra`` of a route whose answer may be streamed."""
STEERED: dict[str, Any] = {
    "requestBody": {"content": {"application/json": {"schema": {"properties": described(SteeringKeys)["properties"]}}}},
    "responses": {"200": {"content": {"text/event-stream": {}, "application/json": {"schema": with_answer()}}}},
}
"""``openapi_extra`` of a route that steers; such an answer may be streamed."""
