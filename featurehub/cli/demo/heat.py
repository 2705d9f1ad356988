"""A heat map of an answer: its words down the side, a few features across, and how much of each feature a word has.

1. A token's activation of a feature becomes a share of the feature's largest activation in the database, so that
   features compare. A word has the largest share of its tokens. Only features with a label are shown.
2. Across stand the features that are the strongest of a word: if there is no room for all of them, those with the
   largest shares, in the order of the words that they are the strongest of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from featurehub.cli.colors import COLD, DARK, LIGHT, blend
from featurehub.records import Label

__all__ = ["KnownFeature", "Word", "heat_map", "words"]

HUES = ("#58a6ff", "#ffa657", "#56d364", "#ff7b9c", "#d2a8ff", "#f2cc60", "#39c5cf")
"""The colors of the features, of which so many fit at most."""
WIDTH, GAP = 12, 1
"""Columns of a terminal that a feature takes, and from one feature to the next."""
CAPTION = "\nin percent of each feature's largest activation; a word has the color of its strongest, if shown"


class KnownFeature(NamedTuple):
    """What the database knows of a feature: its label, and its largest activation."""

    label: Label
    largest: float


class Word(NamedTuple):
    """A word of an answer, with its share of each feature's largest activation, by label."""

    text: str
    shares: dict[Label, float]

    @property
    def strongest(self) -> Label | None:
        """The label with the largest share; None if the word has none."""
        return max(self.shares, key=lambda label: (self.shares[label], label.text), default=None)


def words(tokens: Iterable[Mapping[str, Any]], known: Mapping[str, KnownFeature]) -> Iterator[Word]:
    """The words of an answer.

    Args:
        tokens: The answer's tokens, each with its features as a server returns them.
        known: The features with a label, by id.

    Yields:
        Every word, with punctuation.
    """
    word = Word("", {})
    for token in tokens:
        if word.text and token["token"][:1].isspace():
            yield word
            word = Word("", {})
        word = Word(word.text + token["token"].strip(), word.shares)
        for each in token["features"]:
            if (feature := known.get(each["id"])) and feature.largest:
                share = each["activation"] / feature.largest
                word.shares[feature.label] = max(share, word.shares.get(feature.label, 0.0))
    if word.text:
        yield word


def heat_map(answer: Sequence[Word], title: str, width: int) -> Table:
    """The map.

    Args:
        answer: The words.
        title: What stands above it.
        width: Columns of the terminal; it decides how many features are shown.
    """
    margin = max([len(word.text) for word in answer], default=0)
    hues = dict(zip(across(answer, (width - margin) // (WIDTH + GAP)), HUES, strict=False))
    table = Table(box=None, padding=(0, GAP, 0, 0), title=f"{title}\n", caption=CAPTION)
    table.title_justify = table.caption_justify = "left"
    table.add_column(vertical="bottom")
    for label, hue in hues.items():
        table.add_column(heading(label, hue), width=WIDTH, vertical="bottom")
    for word in answer:
        hue = hues.get(word.strongest, "white") if word.strongest else "white"
        named = Text(word.text, style=f"bold {hue}", no_wrap=True)
        table.add_row(named, *(cell(word.shares.get(label, 0.0), hue) for label, hue in hues.items()))
    return table


def across(answer: Sequence[Word], room: int) -> list[Label]:
    """The labels of the features that stand across, at most ``room`` and one of each hue."""
    peaks: dict[Label, float] = {}
    for word in answer:
        if label := word.strongest:
            peaks[label] = max(word.shares[label], peaks.get(label, 0.0))
    best = sorted(peaks, key=lambda label: -peaks[label])[: max(1, min(room, len(HUES)))]
    return [label for label in peaks if label in best]


def heading(label: Label, hue: str) -> Text:
    """A label, its head in the feature's color."""
    return Text.assemble((label.head, f"bold {hue}"), (f"\n{label.behind}" if label.behind else "", "dim"))


def cell(share: float, hue: str) -> Text:
    """A share in percent on the feature's color, the stronger the larger it is; empty where there is none."""
    if share < 0.005:
        return Text()
    ink = DARK if share > 0.45 else LIGHT
    return Text(f"{share:.0%}".center(WIDTH), style=f"{ink} on {blend(COLD, hue, min(1.0, share))}")
