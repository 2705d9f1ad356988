"""How names are compared: one place for folding, heads and words."""

import re
import unicodedata

__all__ = ["base_of", "fold", "head_of", "parts_of", "words_of"]

WORD = re.compile(r"\w+")


def fold(name: str) -> str:
    """The form in which names are compared: NFKC-normalised, case-folded, spaces collapsed, NUL a space."""
    folded = unicodedata.normalize("NFKC", name.replace("\0", " ")).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def head_of(label: str) -> str:
    """``banking`` of ``banking: loan, deposit``; the label itself where it has no such part."""
    return label.partition(": ")[0].strip() or label


def base_of(name: str) -> str:
    """The part that a name shares with others of the same meaning: ``banking`` of ``banking (loan): debt``."""
    head = head_of(name)
    return head.partition(" (")[0].strip() if head.endswith(")") else head


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, folded and without punctuation."""
    return parts_of(fold(text))


def parts_of(folded: str) -> tuple[str, ...]:
    """The words of a name that is folded already."""
    return tuple(WORD.findall(folded))
