"""What is known of the architectures that vLLM writes text with, as ``tests/benchmarks/families.py`` found it.

None of it decides: an engine checks its model when it boots. It tells users and the catalog what to expect.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path

from featurehub.artifacts.manifest import Site
from featurehub.settings import Frozen

__all__ = ["FILE", "Status", "Support", "known_architectures", "sites_of"]

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


class Support(Frozen):
    """How well one architecture is supported, as the run found it.

    Attributes:
        status: How sure it is.
        sites: Where in its layers SAEs can read and write; none where it is refused or was not tried.
        reason: Why it is refused or was not tried.
    """

    status: Status
    sites: tuple[Site, ...] = ()
    reason: str = ""


@cache
def known_architectures() -> dict[str, Support]:
    """The findings by architecture."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["architectures"]
    return {name: Support.model_validate(row) for name, row in rows.items()}


def sites_of(architecture: str) -> tuple[Site, ...]:
    """Where SAEs can read and write in the layers of an architecture; nowhere if that is not known."""
    found = known_architectures().get(architecture)
    return found.sites if found is not None else ()
