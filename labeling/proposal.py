"""A proposed label: a name, and words that say more."""

from typing import NamedTuple

from featurehub.names import base_of, head_of

__all__ = ["Proposal"]


class Proposal(NamedTuple):
    """A proposed label, such as ``banking: loan, deposit``.

    Attributes:
        head: The name.
        further: Words or n-grams that say more.
    """

    head: str
    further: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label as one text: the head, then the further words after a colon."""
        return f"{self.head}: {', '.join(self.further)}" if self.further else self.head

    @classmethod
    def read(cls, label: str) -> "Proposal":
        """The proposal behind a label. What ``heads`` put in brackets is a further word again; a number is dropped."""
        name, head = base_of(label), head_of(label)
        bracketed = head[len(name) :].strip(" ()")
        behind = label[len(head) :].lstrip(":").split(",")
        parts = [*([] if bracketed.isdigit() else [bracketed]), *behind]
        return cls(name, tuple(found for part in parts if (found := part.strip())))
