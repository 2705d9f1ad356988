"""Which weights this worker computes with: summed at boot, and again after whatever may have replaced them.

The *identity* of the weights is a hash of all their checksums (``featurehub.engine.checksum``). A request notes the one
that it was admitted under and the one that its last token was computed with, so that no answer can pass over a change.
"""

import hashlib
from collections.abc import Mapping

from torch import nn

from featurehub.engine.checksum import Sums, checksums

__all__ = ["LoadedWeights", "identity_of"]

DIGITS = 16


class LoadedWeights:
    """The weights of this worker's model.

    Attributes:
        identity: Their identity; "" until they are summed.
        sums: Their checksums by name; none while they are being replaced.
        shared: Whether other workers have other parts of the model: theirs may change where these do not.
        changes: How often they may have been replaced.
    """

    def __init__(self) -> None:
        self.identity, self.changes, self.shared = "", 0, False
        self.sums: Mapping[str, str] = {}

    def look(self, model: nn.Module) -> None:
        """Sums them, if that was not done since they last changed."""
        if not self.sums:
            self.learn(checksums(model))

    def learn(self, sums: Sums) -> None:
        """Notes their checksums. Where some are not known here, they count as others after every change."""
        self.sums, identity = sums.by_name, identity_of(sums.by_name)
        self.identity = identity if sums.whole and not self.shared else f"{identity}-{self.changes}"

    def change(self, model: nn.Module, complete: bool) -> None:
        """Notes that they may have been replaced.

        Args:
            model: The model.
            complete: Whether all of the new ones are there; else they are not summed yet, and have a name of their own.
        """
        self.changes += 1
        self.sums = {}
        if complete:
            self.look(model)
        else:
            self.identity = f"replacing-{self.changes}"


def identity_of(sums: Mapping[str, str]) -> str:
    """The identity of weights with these checksums: 16 hexadecimal digits."""
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(sums.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]
