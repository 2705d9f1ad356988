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
    """

    OWN = "own"
    LABEL = "label"
    HEAD = "head"
    GIVEN = "given"
    KEPT = "kept"

    @property
    def rank(self) -> int:
        """0 for an own alias, 1 for the current label, 2 for its head, 3 for any other name; the lowest rank wins."""
        return {NameKind.OWN: 0, NameKind.LABEL: 1, NameKind.HEAD: 2}.get(self, 3)
