"""Reports as a worker sends them."""

from typing import Any


def report(steered: int, expected: int | None = None, **more: Any) -> dict[str, Any]:
    """What a worker says of a request with edits at one hook point."""
    counts = {"seen_tokens": steered, "expected_tokens": steered if expected is None else expected}
    counts |= {"steered_tokens": steered, "dose_sum": 0.25 * steered, "dose_max": 0.5, "clipped": 0}
    return {"hooks": {"layers.3.resid_post": counts}, **more}
