"""Makes heads unique, so that a request's ``banking`` means one feature.

1. The latent with the most merit comes first; among equals, the one with the lower index. The first latent that wants a
   name has it to itself.
2. Another is qualified by the first of its further words that makes it unique: ``banking (loan)``.
3. Where no further word makes it unique, a number does: ``banking (2)``.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from itertools import chain, count

from featurehub.names import fold
from featurehub.records import Label

__all__ = ["TakenHeads", "unique_heads"]


def unique_heads(labels: Mapping[int, Label], merits: Mapping[int, float]) -> dict[int, Label]:
    """Gives every label a head that no other has, whatever it was told from others by before.

    Args:
        labels: The labels by latent.
        merits: How good each latent's label is; a latent without a merit comes last.

    Returns:
        The labels by latent, with unique heads.
    """
    taken: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    unique: dict[int, Label] = {}
    for latent in sorted(labels, key=lambda each: (-merits.get(each, float("-inf")), each)):
        label = labels[latent]
        unique[latent] = distinguish(label, taken, numbers[fold(label.name)])
        taken.add(fold(unique[latent].head))
    return unique


class TakenHeads:
    """The heads of an SAE's labels while some are replaced one after the other.

    Args:
        heads: The heads by latent.
    """

    def __init__(self, heads: Mapping[int, str]) -> None:
        self._heads = {latent: fold(head) for latent, head in heads.items()}
        self._counts = Counter(self._heads.values())

    def __contains__(self, folded: str) -> bool:
        return self._counts[folded] > 0

    def give(self, latent: int, label: Label) -> Label:
        """The label with a head that no other latent has; it takes the place of the one that the latent had."""
        if latent in self._heads:
            self._counts[self._heads[latent]] -= 1
        found = distinguish(label, self, count(2))
        self._heads[latent] = fold(found.head)
        self._counts[self._heads[latent]] += 1
        return found


def distinguish(label: Label, taken: Container[str], numbers: Iterator[int]) -> Label:
    """The label with a head that is not taken. ``numbers`` are those not used yet for its name."""
    qualifiers = chain([""], label.further, map(str, numbers))
    heads = (label.model_copy(update={"qualifier": each}) for each in qualifiers)
    return next(each for each in heads if fold(each.head) not in taken)
