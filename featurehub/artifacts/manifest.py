"""The manifest: everything about an SAE but its tensors."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["HookPoint", "Manifest", "ModelIdentity", "Site"]


class Site(StrEnum):
    """Where in a layer an SAE reads and writes."""

    RESID_POST = "resid_post"


class HookPoint(Frozen):
    """A place in the model: the stream after layer ``layer`` (0 is the first)."""

    layer: int = Field(ge=0)
    site: Site = Site.RESID_POST

    def __str__(self) -> str:
        return f"layers.{self.layer}.{self.site}"


class ModelIdentity(Frozen):
    """Which function the SAE was trained on.

    reads:         hash over the checkpoint's tensors up to and including the hook point
    whole:         hash over all of the checkpoint's tensors
    tokenizer:     hash over the tokenizer's files
    chat_template: hash over the template; "" where the model has none
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


class Manifest(Frozen):
    """One SAE on disk.

    id:        sha256 over the weights file, so that equal SAEs have equal ids
    metrics:   of the held-out evaluation (``explained_variance``, ``l0``, ``dead`` …)
    training:  the trainer's configuration, as written by the trainer
    dataset:   what it was trained on: name, tokens, hash
    files:     sha256 of every other file in the folder
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
