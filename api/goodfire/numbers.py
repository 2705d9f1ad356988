"""How Goodfire's format names a latent: by a UUID, and by a number.

1. The UUID (version 8 of RFC 9562) holds the first 22 hexadecimal digits of the SAE's id, and the latent. So it is the
   same on every server, and is read back without a table.
2. The number counts on over the SAEs that are served: with one of them it is the latent, and the latents of the second
   follow those of the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Self
from uuid import UUID

from api.deployment import Deployment
from featurehub.errors import FeatureNotFound
from featurehub.store import Reader

__all__ = ["LatentNumbers", "address_of", "uuid_of"]

VERSION = 8
LATENT_BITS = 32


class Place(NamedTuple):
    """A latent: the id of its SAE, and its index there."""

    sae: str
    latent: int


def uuid_of(sae: str, latent: int) -> UUID:
    """The UUID of a latent of the SAE with this id."""
    return UUID(f"{sae[:12]}8{sae[12:15]}8{sae[15:22]}{latent:08x}")


def address_of(uuid: UUID) -> str:
    """The address of the latent that a UUID means.

    Raises:
        FeatureNotFound: It is a UUID of another kind.
    """
    prefix, latent = parts_of(uuid)
    return f"sae:{prefix}/{latent}"


def parts_of(uuid: UUID) -> tuple[str, int]:
    """The first digits of the SAE's id, and the latent. Raises FeatureNotFound."""
    digits = uuid.hex
    if digits[12] != "8" or digits[16] != "8":
        raise FeatureNotFound(f"no feature here has the UUID {uuid}: search for it on this server", param=str(uuid))
    return digits[:12] + digits[13:16] + digits[17:24], int(digits[24:], 16)


class LatentNumbers:
    """The numbers of the served SAEs' latents.

    Args:
        widths: How many latents each SAE has, by its id, in the order in which the server holds them.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        self.widths = widths
        self.starts = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))

    @classmethod
    def of(cls, deployment: Deployment, reader: Reader) -> Self:
        """Those of a server; of one that hosts the registry alone, those of all registered SAEs."""
        every = [each.id for each in reader.artifacts()] if deployment.served is None else deployment.served.saes
        return cls({each: reader.artifact(each).manifest.d_sae for each in every})

    def number(self, sae: str, latent: int) -> int:
        """The number of a latent."""
        return self.starts[sae] + latent

    def places(self, numbers: Sequence[int]) -> Iterator[Place]:
        """The latents that have these numbers, in their order. Raises FeatureNotFound."""
        for number in numbers:
            yield self.place(number)

    def place(self, number: int) -> Place:
        """The latent that has a number. Raises FeatureNotFound."""
        for sae, start in self.starts.items():
            if start <= number < start + self.widths[sae]:
                return Place(sae, number - start)
        count = sum(self.widths.values())
        raise FeatureNotFound(f"there is no feature number {number}; this server's have the numbers 0 to {count - 1}")

    def place_of(self, uuid: UUID) -> Place:
        """The latent that a UUID means. Raises FeatureNotFound."""
        prefix, latent = parts_of(uuid)
        for sae, width in self.widths.items():
            if sae.startswith(prefix) and latent < width:
                return Place(sae, latent)
        raise FeatureNotFound(f"the SAE of the feature {uuid} is not served here: search for it on this server")
