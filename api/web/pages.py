"""The pages, in the order of the navigation."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["FOLDER", "PAGES", "Page"]

FOLDER = Path(__file__).parent


class Page(NamedTuple):
    """One page.

    Attributes:
        name: Its path below the root, and the name of its template and of its module; "" is the start page.
        title: What the navigation calls it.
        listed: Whether the navigation has it; one that shows a single thing is reached from others.
    """

    name: str
    title: str
    listed: bool = True

    @property
    def file(self) -> str:
        """The name of its template and of its module, without ending."""
        return self.name or "start"


PAGES = (
    Page("", "Start"), Page("search", "Search"), Page("feature", "Feature", listed=False),
    Page("playground", "Playground"), Page("saes", "SAEs & drift"), Page("explain", "Explain"),
)  # fmt: skip
"""In the order of the navigation."""
