"""Features that belong together."""

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["Cluster"]


class Cluster(Frozen):
    """Latents of one SAE that write alike, under a name of their own.

    Attributes:
        name: What their labels share; "" where none of them has a label.
        latents: Indices in the SAE, ascending.
    """

    name: str
    latents: tuple[int, ...] = Field(min_length=1)
