"""JSON in parts: the interpreter goes on with other threads between two of them, however long the whole is."""

import json
from typing import Any

__all__ = ["to_json"]

DEPTH = 3
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def to_json(value: Any, depth: int = DEPTH) -> str:
    """The text of ``value``. What lies ``depth`` levels down is encoded in one go each: of an answer, one token's
    activations.
    """
    if depth and isinstance(value, dict):
        return "{" + ",".join(f"{ENCODER.encode(key)}:{to_json(item, depth - 1)}" for key, item in value.items()) + "}"
    if depth and isinstance(value, list):
        return "[" + ",".join([to_json(item, depth - 1) for item in value]) + "]"
    return ENCODER.encode(value)
