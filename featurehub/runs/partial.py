"""Where a run keeps its unfinished work until it is done."""

import hashlib
from pathlib import Path

__all__ = ["partial_folder"]


def partial_folder(out: Path, *parts: object) -> Path:
    """The folder of a run's unfinished work: beside its output, and named after everything that the run depends on.

    Args:
        out: What the run makes.
        parts: What it depends on, such as the model, the text's hash and the configuration. A run that differs in any
            of these has another folder. The budget is not one of them: a run with more time resumes the same work.
    """
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return out.with_name(f"{out.name}.partial-{digest[:12]}")
