"""The colors of states, and of how strongly something is active."""

from rich.text import Text

from featurehub.features import State

__all__ = ["COLD", "COLORS", "DARK", "LIGHT", "blend", "colored", "shaded"]

COLORS = {State.FRESH: "green", State.SUSPECT: "yellow", State.STALE: "red", State.UNCHECKED: "dim"}
"""The color of each state, as rich names it."""
COLD, DARK, LIGHT, HOT = "#161b22", "#0d1117", "#e6edf3", "#ffa657"


def colored(state: State) -> Text:
    """A state's name in its color."""
    return Text(state, style=COLORS[state])


def shaded(text: str, share: float) -> Text:
    """A text on a background that is the warmer the larger ``share`` is, in [0, 1]; as it is at 0."""
    if share <= 0:
        return Text(text)
    return Text(text, style=f"{DARK if share > 0.45 else LIGHT} on {blend(COLD, HOT, min(1.0, share))}")


def blend(cold: str, hot: str, share: float) -> str:
    """The color between two, as ``#rrggbb``."""
    ends = ((int(cold[i : i + 2], 16), int(hot[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in ends)
