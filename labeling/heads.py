"""Makes heads unique, so that a request's ``banking`` means one feature.

1. The latent with the most merit comes first; among equals, the one with the lower index. The first latent that wants a
   head gets it plain.
2. Another gets the first of its further words that makes it unique in brackets: ``banking (loan)``; that word is then
   not repeated after the colon.
3. Where no further word makes it unique, it gets a number: ``banking (2)``.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from itertools import count

from featurehub.names import fold
from labeling.proposal import Proposal

__all__ = ["TakenHeads", "unique_heads"]


def unique_heads(proposals: Mapping[int, Proposal], merits: Mapping[int, float]) -> dict[int, Proposal]:
    """Gives every proposal a head that no other has.

    Args:
        proposals: The proposals by latent.
        merits: How good each latent's label is; a latent without a merit comes last.

    Returns:
        The proposals by latent, with unique heads.
    """
    taken: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    unique: dict[int, Proposal] = {}
    for latent in sorted(proposals, key=lambda each: (-merits.get(each, float("-inf")), each)):
        proposal = proposals[latent]
        unique[latent] = distinguish(proposal, taken, numbers[fold(proposal.head)])
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

    def give(self, latent: int, proposal: Proposal) -> Proposal:
        """The proposal with a head that no other latent has; it takes the place of the one that the latent had."""
        if latent in self._heads:
            self._counts[self._heads[latent]] -= 1
        found = distinguish(proposal, self, count(2))
        self._heads[latent] = fold(found.head)
        self._counts[self._heads[latent]] += 1
        return found


def distinguish(proposal: Proposal, taken: Container[str], numbers: Iterator[int]) -> Proposal:
    """The proposal with a head that is not taken. ``numbers`` are those not used yet for its head."""
    if fold(proposal.head) not in taken:
        return proposal
    for word in proposal.further:
        head = f"{proposal.head} ({word})"
        if fold(head) not in taken:
            return Proposal(head, tuple(each for each in proposal.further if each != word))
    numbered = (f"{proposal.head} ({number})" for number in numbers)
    return proposal._replace(head=next(head for head in numbered if fold(head) not in taken))
