"""The manifest: everything about an SAE but its tensors."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["HookPoint", "Manifest", "ModelIdentity", "Site"]


class Site(StrEnum):
    """Where in a layer an SAE reads and writes, in the order in which a token passes them.

    resid_pre, resid_mid, resid_post: the stream before the layer, between attention and MLP, and after the layer
    attn_out, mlp_out: what attention and MLP add to the stream, after the norm that some families put behind them
    """

    RESID_PRE = "resid_pre"
    ATTN_OUT = "attn_out"
    RESID_MID = "resid_mid"
    MLP_OUT = "mlp_out"
    RESID_POST = "resid_post"


class HookPoint(Frozen):
    """A place in the model: a site of layer ``layer`` (0 is the first)."""

    layer: int = Field(ge=0)
    site: Site = Site.RESID_POST

    @property
    def order(self) -> tuple[int, int]:
        """Sorts hook points as a token passes them."""
        return self.layer, list(Site).index(self.site)

    def __str__(self) -> str:
        return f"layers.{self.layer}.{self.site}"


class ModelIdentity(Frozen):
    """Which function the SAE was trained on. The hashes decide; name and revision only say where it came from.

    reads:         hash over the checkpoint's tensors up to and including the hook point
    whole:         hash over all of the checkpoint's tensors
    tokenizer:     hash over the tokenizer's files
    chat_template: hash over the template; "" where the model has none
    revision:      the commit in the repository ``name``; "" where that is not known
    """

    name: str
    architecture: str
    d_model: int
    layers: int
    dtype: str
    reads: str
    whole: str
    tokenizer: str
    chat_template: str
    revision: str = ""


class Manifest(Frozen):
    """One SAE on disk.

    id:        sha256 over the weights file, so that equal SAEs have equal ids
    metrics:   of the held-out evaluation (``explained_variance``, ``l0``, ``dead`` …)
    training:  the trainer's configuration, as written by the trainer
    dataset:   what it was trained on: name, tokens, hash
    files:     sha256 of every other file in the folder
    parent:    id of the SAE that it was made from
    """

    format: Literal[1] = 1
    id: str
    name: str
    architecture: str
    d_model: int
    d_sae: int
    k: float
    hook: HookPoint
    model: ModelIdentity
    dataset: dict[str, str | int]
    training: dict[str, str | int | float | bool | None]
    metrics: dict[str, float]
    files: dict[str, str]
    created: str
    parent: str | None = None
