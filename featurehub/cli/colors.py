"""The colors of states."""

from rich.text import Text

from featurehub.features import State

__all__ = ["COLORS", "colored"]

COLORS = {State.FRESH: "green", State.SUSPECT: "yellow", State.STALE: "red", State.UNCHECKED: "dim"}
"""The color of each state, as rich names it."""


def colored(state: State) -> Text:
    """A state's name in its color."""
    return Text(state, style=COLORS[state])
