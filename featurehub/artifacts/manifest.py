"""The manifest: everything about an SAE but its tensors."""

import hashlib
import json
from enum import StrEnum
from typing import Literal

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["HookPoint", "Manifest", "ModelIdentity", "Part", "Site"]


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


class Part(StrEnum):
    """A part of what a model computes, as messages name it."""

    WEIGHTS = "weights"
    PRECISION = "precision"
    CONFIGURATION = "configuration"
    TOKENIZER = "tokenizer"
    CHAT_TEMPLATE = "chat template"


class ModelIdentity(Frozen):
    """Which function the SAE was trained on. The hashes decide; name and revision only say where it came from.

    This is the one place that says whether two models are the same function: ``differences``.

    Attributes:
        dtype: The precision in which the checkpoint is kept and, unless an operator says otherwise, run.
        reads: Hash over the checkpoint's tensors up to and including the hook point.
        whole: Hash over all tensors that an engine loads.
        tokenizer: Hash over the bytes of the tokenizer's files.
        tokenization: Hash over how text becomes token ids: the tokenizer's rules, vocabulary and settings. "" in
            artifacts that were made before it was recorded.
        chat_template: Hash over the template; "" where the model has none.
        config: Hash over the configuration, without what leaves the function alone. "" in artifacts that were made
            before it was recorded.
        revision: The commit in the repository ``name``; "" where that is not known.
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
    tokenization: str = ""
    config: str = ""
    revision: str = ""

    def differences(self, other: "ModelIdentity") -> tuple[Part, ...]:
        """The parts of the function in which the two differ, or of which one of them has no record."""
        return tuple(part for part in Part if not self.agrees(other, part))

    def agrees(self, other: "ModelIdentity", part: Part) -> bool:
        """Whether both have the same of one part, and it is on record."""
        own = self.hash_of(part)
        return own == other.hash_of(part) and (own != "" or part is Part.CHAT_TEMPLATE)

    def same_function(self, other: "ModelIdentity") -> bool:
        return not self.differences(other)

    def hash_of(self, part: Part) -> str:
        """What is compared; "" where there is no record, and of the chat template where the model has none."""
        match part:
            case Part.WEIGHTS:
                return self.whole
            case Part.PRECISION:
                return self.dtype
            case Part.CONFIGURATION:
                return self.config
            case Part.TOKENIZER:
                return self.tokenization
            case Part.CHAT_TEMPLATE:
                return self.chat_template

    @property
    def function(self) -> str:
        """64 hexadecimal digits, equal for the same functions: what drift reports are found by."""
        return hashlib.sha256(json.dumps([self.hash_of(part) for part in Part]).encode()).hexdigest()


class Manifest(Frozen):
    """One SAE on disk.

    id:        sha256 over the weights file, so that equal SAEs have equal ids
    metrics:   of the held-out evaluation (``explained_variance``, ``l0``, ``dead`` …)
    training:  the trainer's configuration, as written by the trainer
    dataset:   what it was trained on: name, tokens, hash
    files:     sha256 of every other file in the folder
    parent:    id of the SAE that it was made from
    judge:     name of the judge that judged its labels first; "" where none has yet
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
    judge: str = ""
