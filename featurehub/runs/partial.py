"""Where a run keeps what it has until it is done."""

import hashlib
from pathlib import Path

__all__ = ["partial_folder"]


def partial_folder(out: Path, *parts: object) -> Path:
    """Beside what the run makes, and named after all that it depends on.

    Args:
        out: What the run makes.
        parts: What it depends on, such as the model, the text's hash and the configuration. A run with another of any
            of these has another folder; its budget is no part, since more time goes on with what there is.
    """
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return out.with_name(f"{out.name}.partial-{digest[:12]}")
