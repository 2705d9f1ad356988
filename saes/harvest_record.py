"""What a harvest is of, and how it is laid out on disk."""

from typing import Literal

import torch
from pydantic import Field

from featurehub.artifacts.manifest import HookPoint
from featurehub.settings import Frozen

__all__ = ["DTYPES", "HarvestConfig", "HarvestRecord", "token_bytes"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HarvestConfig(Frozen):
    """How a harvest is laid out on disk.

    Attributes:
        documents_per_shard: Documents in a shard of one hook point; with several, it is divided by their number, so
            that shards keep their size.
        dtype: Type in which streams are stored; they are always loaded as float32.
    """

    documents_per_shard: int = Field(default=512, ge=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    def documents_at(self, hooks: int) -> int:
        """Returns how many documents go into a shard that holds this many hook points, at least one."""
        return max(1, self.documents_per_shard // hooks)

    def tokens_at(self, hooks: int, documents: int, tokens: int) -> int:
        """Returns how many tokens such a shard has on average.

        Args:
            hooks: Number of hook points.
            documents: Documents of the whole text.
            tokens: Tokens of the whole text.
        """
        return min(documents, self.documents_at(hooks)) * tokens // documents


class HarvestRecord(Frozen):
    """What a harvest is of; kept in its folder as ``harvest.json``.

    Attributes:
        format: Version of this record.
        model: Name of the model.
        reads: The model's ``ModelIdentity.stream``, as seen from the last hook point.
        hooks: Hook points, in the order in which a token passes them.
        d_model: Width of the model's stream.
        widths: Numbers of a token at each hook point; empty where all of these are d_model.
        text: sha256 over all token ids.
        documents: Number of documents of the text.
        tokens: Number of their tokens, special ones included.
        config: How the harvest is laid out.
    """

    format: Literal[3] = 3
    model: str
    reads: str
    hooks: tuple[HookPoint, ...] = Field(min_length=1)
    d_model: int
    widths: tuple[int, ...] = ()
    text: str
    documents: int
    tokens: int
    config: HarvestConfig

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of a token at each hook point."""
        return self.widths or (self.d_model,) * len(self.hooks)

    @property
    def documents_per_shard(self) -> int:
        """Documents in each shard but the last, which may have fewer."""
        return self.config.documents_at(len(self.hooks))


def token_bytes(width: int, config: HarvestConfig) -> int:
    """Returns the bytes that one token takes in a shard, with its id and its document.

    Args:
        width: Numbers of the token at all hook points together.
        config: How the harvest is laid out.
    """
    return width * DTYPES[config.dtype].itemsize + 16
