"""The colours of states."""

from featurehub.features import State

__all__ = ["COLORS", "colored"]

COLORS = {State.FRESH: "green", State.SUSPECT: "yellow", State.STALE: "red", State.UNCHECKED: "dim"}


def colored(state: State) -> str:
    return f"[{COLORS[state]}]{state}[/{COLORS[state]}]"
