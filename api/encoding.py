"""JSON encoded in parts, so that other threads of the interpreter can run in between, however long the whole is."""

import json
from typing import Any

__all__ = ["to_json"]

DEPTH = 3
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def to_json(value: Any, depth: int = DEPTH) -> str:
    """The JSON text of a value.

    Args:
        value: JSON types.
        depth: Levels that are encoded item by item. What lies deeper is encoded in one go each; in an answer that is
            the activations of one token.
    """
    if depth and isinstance(value, dict):
        return "{" + ",".join(f"{ENCODER.encode(key)}:{to_json(item, depth - 1)}" for key, item in value.items()) + "}"
    if depth and isinstance(value, list):
        return "[" + ",".join([to_json(item, depth - 1) for item in value]) + "]"
    return ENCODER.encode(value)
