"""Labels in the short form in which tests write them."""

from typing import Any

from featurehub.names import single_spaced
from featurehub.records import Label, Labeled

__all__ = ["labeled", "parted"]


def parted(text: str) -> Label:
    """The label with this text, which has its parts as an explainer's has: ``name (qualifier): further, words``."""
    head, _, behind = text.partition(": ")
    name, _, qualifier = head.removesuffix(")").partition(" (") if head.endswith(")") else (head, "", "")
    words = [*([] if qualifier.isdigit() else [qualifier]), *behind.split(", ")]
    further = tuple(word for word in words if word.strip())
    found = Label(name=name, qualifier=qualifier, further=further) if name.strip() else Label(name=text)
    return found if found.text == single_spaced(text) else Label(name=text)


def labeled(text: str, score: float | None = None, **numbers: Any) -> Labeled:
    """The outcome with this label."""
    return Labeled(label=parted(text), score=score, **numbers)
