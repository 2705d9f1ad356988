"""Why a feature answers to a name. ``featurehub.names`` says how names are compared."""

from enum import StrEnum

__all__ = ["NameKind"]


class NameKind(StrEnum):
    """Why a feature answers to a name, strongest claim first.

    Attributes:
        LABEL: It is the current label in full.
        HEAD: It is the current label's head.
        GIVEN: It is an alias that somebody gave.
        KEPT: It is a former label or head.
    """

    LABEL = "label"
    HEAD = "head"
    GIVEN = "given"
    KEPT = "kept"

    @property
    def rank(self) -> int:
        """0 for the current label, 1 for its head, 2 for any other name; the lowest rank wins."""
        return {NameKind.LABEL: 0, NameKind.HEAD: 1}.get(self, 2)
