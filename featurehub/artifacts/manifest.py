"""The manifest: everything about an SAE except its tensors."""

import hashlib
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["GIVEN", "OWN_WIDTH", "TAKEN", "HookPoint", "Manifest", "ModelIdentity", "Part", "Site"]


class Site(StrEnum):
    """Where in a layer an SAE reads and writes, in the order in which a token passes them.

    Attributes:
        RESID_PRE: The stream before the layer.
        ATTN_IN: What attention is given: mostly the stream behind a norm, whose weights are in it. An edit here reaches
            attention alone, even where the MLP is given the same tensor.
        Z: What attention's output projection takes: the outputs of all heads, side by side. As wide as they are.
        ATTN_OUT: What attention adds to the stream, after the norm that some families put behind it.
        RESID_MID: The stream between attention and MLP.
        MLP_IN: The same of the MLP.
        ROUTER: What a router says of each expert for the token, before any softmax. As wide as there are experts.
        MLP_ACT: The neurons: what the MLP's output projection takes. As wide as there are neurons.
        MLP_OUT: What the MLP adds to the stream, after the norm that some families put behind it.
        RESID_POST: The stream after the layer.
        FINAL_NORM: What the final norm makes of the stream after the last layer, and the head reads. Other layers
            have none.
    """

    RESID_PRE = "resid_pre"
    ATTN_IN = "attn_in"
    Z = "z"
    ATTN_OUT = "attn_out"
    RESID_MID = "resid_mid"
    MLP_IN = "mlp_in"
    ROUTER = "router"
    MLP_ACT = "mlp_act"
    MLP_OUT = "mlp_out"
    RESID_POST = "resid_post"
    FINAL_NORM = "final_norm"


TAKEN = frozenset({Site.Z, Site.MLP_ACT})
"""Sites where neither the stream lies nor what is added to it, but what an output projection takes."""
OWN_WIDTH = TAKEN | {Site.ROUTER}
"""Sites where there are not d_model numbers of a token."""
GIVEN = frozenset({Site.ATTN_IN, Site.MLP_IN})
"""Sites where a part of a layer is given its own copy of a tensor, which others may be given, too."""


class HookPoint(Frozen):
    """A place in the model where an SAE reads and writes.

    Attributes:
        layer: Index of the layer; 0 is the first.
        site: Where in the layer.
    """

    layer: int = Field(ge=0)
    site: Site = Site.RESID_POST

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: hook points in the order in which a token passes them."""
        return self.layer, list(Site).index(self.site)

    def __str__(self) -> str:
        return f"layers.{self.layer}.{self.site}"


class Part(StrEnum):
    """A part of what determines a model's function; the value is its name in messages."""

    WEIGHTS = "weights"
    PRECISION = "precision"
    CONFIGURATION = "configuration"
    TOKENIZER = "tokenizer"
    CHAT_TEMPLATE = "chat template"


class ModelIdentity(Frozen):
    """Which function the SAE was trained on. The hashes decide; name and revision only say where it came from.

    This is the one place that says whether two models are the same function: ``differences``.

    Attributes:
        name: The repository, the name of the file that it was converted from, or the name of its folder.
        architecture: Class of the model, as its configuration names it.
        d_model: Width of the stream.
        layers: Number of layers.
        dtype: The precision in which the checkpoint is kept and, unless an operator says otherwise, run.
        reads: Hash over the checkpoint's tensors up to and including the hook point.
        whole: Hash over all tensors that an engine loads.
        tokenizer: Hash over the bytes of the tokenizer's files.
        chat_template: Hash over the template; "" where the model has none.
        tokenization: Hash over how text becomes token ids: the tokenizer's rules, vocabulary and settings. "" in
            artifacts that were made before it was recorded.
        config: Hash over the configuration, without the keys that do not change the function. "" in artifacts that were
            made before it was recorded.
        revision: The commit in the repository ``name``, or the SHA-256 of the file ``name`` that it was converted from;
            "" where it is not known.
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
        """The parts in which two functions differ, or of which one of them has no record."""
        return tuple(part for part in Part if not self.agrees(other, part))

    def agrees(self, other: "ModelIdentity", part: Part) -> bool:
        """Whether both have the same value of a part, and it is on record."""
        own = self.hash_of(part)
        return own == other.hash_of(part) and (own != "" or part is Part.CHAT_TEMPLATE)

    def same_function(self, other: "ModelIdentity") -> bool:
        """Whether both are on record as the same function."""
        return not self.differences(other)

    def hash_of(self, part: Part) -> str:
        """The value of a part that is compared.

        Returns:
            A hash, or for the precision its name. "" where there is no record, and where the model has no chat
            template.
        """
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
        """64 hexadecimal digits, equal for the same function; drift reports are found by it."""
        return digest(self.hash_of(part) for part in Part)

    @property
    def stream(self) -> str:
        """64 hexadecimal digits, equal where the stream at the hook point is the same function of the token ids.

        It identifies a harvest.
        """
        return digest((self.reads, self.dtype, self.config))


def digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


class Manifest(Frozen):
    """One SAE on disk.

    Attributes:
        format: Version of the format.
        id: SHA-256 of the weights file, so that equal SAEs have equal ids.
        name: Name under which the SAE is registered.
        architecture: Kind of SAE, such as "topk".
        d_model: Width of what it reads: that of the stream, but at sites that are no streams.
        d_sae: Number of latents.
        k: Number of active latents per token that it was trained for, or where that is not known, the measured mean.
        hook: Where in the model it reads and writes.
        model: The model that it was trained on.
        dataset: What it was trained on: name, tokens, hash.
        training: The trainer's configuration, as the trainer wrote it.
        metrics: Scores of the held-out evaluation (``explained_variance``, ``l0``, ``dead`` …).
        files: SHA-256 of every other file in the folder, by name.
        created: When it was made, ISO 8601.
        parent: Id of the SAE that it was made from; None where there is none.
        judge: Name of the judge that first judged its labels; "" where none has yet.
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

    @property
    def span(self) -> int:
        """Tokens of which a vector of its training was the mean (``saes.spans``); 1 for single tokens."""
        return int(self.training.get("span") or 1)
