"""Seals of steerings as objects, written out again for each: the naive twin of seals that are read off the text."""

from msgspec.structs import replace

from featurehub.edits import Steering
from featurehub.seals import Maker, is_sealed, make_seal

__all__ = ["has_seal", "sealed"]


def sealed(steering: Steering, maker: Maker) -> Steering:
    """A copy with the seal of whoever made it."""
    return replace(steering, seal=make_seal(unsealed(steering), maker))


def has_seal(steering: Steering, maker: Maker) -> bool:
    """Whether the seal is this maker's and the steering has not changed since."""
    return is_sealed(unsealed(steering), steering.seal, maker)


def unsealed(steering: Steering) -> str:
    """The text that a seal covers: the canonical JSON with an empty seal."""
    return replace(steering, seal="").to_json()
