"""What a request's edits at one hook point come to as numbers.

An edit changes its latent's activation a by an affine amount, so every mode is two numbers:

    change = alpha · a + beta
    nudge   alpha = 0           beta = value
    pin     alpha = −1          beta = value
    mul     alpha = value − 1   beta = 0
    ablate  alpha = −1          beta = 0

1. Of an edit without a condition, ``beta · W_dec`` is the same for every token: it is summed once.
2. What is left (alpha, and everything of an edit with a condition) takes a slot.
3. Edits that change nothing come to neither, so that weight 0 is exactly the same as no edit.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from featurehub.edits import LatentEdit, When
from featurehub.engine.bank import Bank
from featurehub.engine.conditions import NO_CONDITION, Mask
from featurehub.features import Mode

__all__ = ["Amounts", "Slot", "Sum"]

NUDGE, PIN, MUL = Mode.NUDGE, Mode.PIN, Mode.MUL

Slot = tuple[int, float, float, Mask]
"""What takes a slot: the row of the bank, alpha, beta (0 without a condition) and the condition."""

Sum = tuple[int, float]
"""What is summed: the row of the bank, and beta."""


class Amounts(NamedTuple):
    """What edits come to.

    Attributes:
        slots: What takes a slot, in order of the edits.
        sums: What is summed.
        conditional: For each edit with a condition, its index in the request and its slot.
    """

    slots: list[Slot]
    sums: list[Sum]
    conditional: list[tuple[int, int]]

    @classmethod
    def of(cls, edits: Iterable[LatentEdit], bank: Bank, mask: Callable[[When | None], Mask]) -> Self:
        """The amounts of a request's edits at one hook point.

        Args:
            edits: All of its edits, those of other hook points too.
            bank: The SAEs of the hook point.
            mask: Gives the condition bits of a ``when``.
        """
        slots, sums, conditional = [], [], []
        for index, edit in enumerate(edits):
            if (own := bank.slices.get(edit.sae)) is None:
                continue
            (alpha, beta), latent = affine(edit), edit.latent
            latent += bank.vectors[edit.sae] if edit.mode is NUDGE else own.start
            if edit.when is None:
                if alpha:
                    slots.append((latent, alpha, 0.0, NO_CONDITION))
                if beta:
                    sums.append((latent, beta))
            elif alpha or beta:
                conditional.append((index, len(slots)))
                slots.append((latent, alpha, beta, mask(edit.when)))
        return cls(slots, sums, conditional)


def affine(edit: LatentEdit) -> tuple[float, float]:
    """(alpha, beta) of an edit."""
    if edit.mode is NUDGE:
        return 0.0, edit.value
    if edit.mode is MUL:
        return edit.value - 1.0, 0.0
    return -1.0, edit.value if edit.mode is PIN else 0.0
