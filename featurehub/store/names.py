"""Why a feature answers to a name. How names are compared is the hub's: ``featurehub.names``."""

from enum import StrEnum

__all__ = ["NameKind"]


class NameKind(StrEnum):
    """Why a feature answers to a name, strongest claim first."""

    LABEL = "label"
    HEAD = "head"
    GIVEN = "given"
    KEPT = "kept"

    @property
    def rank(self) -> int:
        """0 for the current label; a name that somebody gave counts as much as one kept from before."""
        return {NameKind.LABEL: 0, NameKind.HEAD: 1}.get(self, 2)
