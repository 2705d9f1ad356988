"""Why a feature answers to a name. ``featurehub.names`` says how names are compared."""

from enum import StrEnum

__all__ = ["NameKind"]


class NameKind(StrEnum):
    """Why a feature answers to a name, strongest claim first.

    Attributes:
        OWN: It is an alias that somebody gave for themselves; nobody else knows it.
        LABEL: It is the current label in full.
        HEAD: It is the current label's head.
        GIVEN: It is an alias that somebody gave.
        KEPT: It is a former label or head.
        MOVED: It is a name that another latent had before the SAE was refreshed, and whose meaning this one has now.
    """

    OWN = "own"
    LABEL = "label"
    HEAD = "head"
    GIVEN = "given"
    KEPT = "kept"
    MOVED = "moved"

    @property
    def rank(self) -> int:
        """The lowest rank wins: 0 for an own alias, 1 for the current label, 2 for its head, 4 for a moved name."""
        return {NameKind.OWN: 0, NameKind.LABEL: 1, NameKind.HEAD: 2, NameKind.MOVED: 4}.get(self, 3)
