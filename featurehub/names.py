"""How names are compared: one place for spaces, folding and words."""

import re
import unicodedata

__all__ = ["fold", "parts_of", "single_spaced", "words_of"]

WORD = re.compile(r"\w+")


def single_spaced(text: str) -> str:
    """The text on one line: every stretch of white space, and NUL, is one space; none stands at its ends."""
    return " ".join(text.replace("\0", " ").split())


def fold(name: str) -> str:
    """The form in which names are compared: NFKC-normalised, case-folded, spaces collapsed, NUL a space."""
    if name.isascii():  # Most names are, and bulk loads fold each.
        return single_spaced(name.lower())
    folded = unicodedata.normalize("NFKC", name.replace("\0", " ")).casefold()
    return single_spaced(unicodedata.normalize("NFKC", folded))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, folded and without punctuation."""
    return parts_of(fold(text))


def parts_of(folded: str) -> tuple[str, ...]:
    """The words of a name that is folded already."""
    return tuple(WORD.findall(folded))
