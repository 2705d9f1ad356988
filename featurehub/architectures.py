"""What is known of the architectures that vLLM writes text with, as ``tests/benchmarks/families.py`` found it.

None of it decides: an engine checks its model when it boots. It tells users and the catalog what to expect.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path

from featurehub.settings import Frozen

__all__ = ["FILE", "Finding", "Status", "is_hookable", "known_architectures"]

FILE = Path(__file__).with_suffix(".json")


class Status(StrEnum):
    """How sure it is that hooks stand where they should.

    Attributes:
        VERIFIED: Streams and steered answers are those of Hugging Face transformers.
        SELF_CHECKED: The check at boot passes.
        REFUSED: It does not, or the architecture is refused by name.
        UNTRIED: No such model could be built on the machine of the run.
    """

    VERIFIED = "verified"
    SELF_CHECKED = "self-checked"
    REFUSED = "refused"
    UNTRIED = "not tried"


class Finding(Frozen):
    """What was found of one architecture.

    Attributes:
        status: How sure it is.
        detail: The sites inside a layer that passed, or why it was refused or not tried.
    """

    status: Status
    detail: str = ""


@cache
def known_architectures() -> dict[str, Finding]:
    """The findings by architecture."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["architectures"]
    return {name: Finding.model_validate(row) for name, row in rows.items()}


def is_hookable(architecture: str) -> bool:
    """Whether an architecture was verified or self-checked."""
    found = known_architectures().get(architecture)
    return found is not None and found.status in (Status.VERIFIED, Status.SELF_CHECKED)
