"""What of sae-lens' registry can be imported here, and why not the rest: by names alone, nothing is fetched.

1. Of what kind an entry is: transcoders, and SAEs that read earlier tokens too, are no SAEs of a place in the model.
2. Where it reads, in TransformerLens' words, from its id, its path or its repository; ``saes.formats.hooks`` says
   whether that is a hook point here.
3. Whether the configuration is known to normalize each token by itself, for which an SAE here has no weights.
4. Whether the model's architecture has hooks here, at this site.

1 and 2 are sae-lens' own rules (its loaders find the hook point in the same names), so that an entry says before the
download what its files say after it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from featurehub.architectures import sites_of
from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import InvalidInput
from saes.formats.hooks import find_hook
from saes.formats.models import MODELS
from saes.formats.registry import SAELENS, Entry, Release, registry

__all__ = ["CatalogEntry", "Obstacle", "catalog", "described"]


class Obstacle(NamedTuple):
    """Why an entry is of no use here.

    Attributes:
        kind: In a word.
        reason: The rest of a sentence that the entry begins.
        ours: Whether featurehub lacks something; otherwise it lies in what was published.
    """

    kind: str
    reason: str
    ours: bool


class CatalogEntry(NamedTuple):
    """What is known of an entry before anything is fetched.

    Attributes:
        release: The release's name.
        id: Its id in the release.
        model: The model that it was made for, as sae-lens calls it.
        architecture: The class that the model's checkpoint names; "" for a model that is not in the table.
        hook: Where it reads and writes; None where that is no hook point here, or only its files say it.
        unreadable: Why ``saes import`` refuses it; None if it is read.
        unhookable: Why its model cannot be hooked here; None if it can.
    """

    release: str
    id: str
    model: str
    architecture: str
    hook: HookPoint | None
    unreadable: Obstacle | None
    unhookable: Obstacle | None

    @property
    def obstacle(self) -> Obstacle | None:
        """What is in the way, the files first; None where it is read and its model hooked."""
        return self.unreadable or self.unhookable


TRANSCODER = Obstacle(
    "transcoder", "is a transcoder: it predicts what an MLP writes, and reconstructs nothing", ours=False
)
TEMPORAL = Obstacle("temporal", "is no SAE of one token: it predicts by attention from those before", ours=False)
NORMALIZED = Obstacle("normalized", "divides each token by its own length, for which no weights can stand", ours=True)
NO_SAE = {
    "gemma_2_transcoder": TRANSCODER,
    "mwhanna_transcoder": TRANSCODER,
    "mntss_clt_layer_transcoder": TRANSCODER,
    "temporal": TEMPORAL,
}
READ = (
    SAELENS, "connor_rob_hook_z", "gemma_2", "gemma_3", "llama_scope", "llama_scope_r1_distill",
    "dictionary_learning_1", "deepseek_r1", "qwen_scope", "goodfire", "sparsify",
)  # fmt: skip
"""sae-lens' loaders whose files ``saes.formats.recognise`` reads, wherever their SAEs may read."""
LAYER_NORMED = re.compile(r"gpt2-small-(attn-out|mlp-out|resid-mid|resid-post)-v5-(32k|128k)")
"""OpenAI's SAEs: the registry does not say what their configurations do, ``normalize_activations: layer_norm``."""
FOLDED = (None, "none", "expected_average_only_in")
"""Normalizations that become weights."""

_LENS = re.compile(r"blocks\.(?P<layer>\d+)\.(?P<place>hook_[a-z]+(?:_[a-z]+)?)")
_SCOPE = re.compile(r"l(?P<layer>\d+)(?P<letter>[amr])_")
_SCOPE_2 = re.compile(r"(?P<kind>\w+?)(?:_all)?/layer_(?P<layer>\d+)_.+")
_NUMBERED = re.compile(r"resid_post_layer_(?P<layer>\d+)|layer(?P<qwen>\d+)\.sae\.pt|-SAE-l(?P<named>\d+)\.pth?")
_LETTERS = {"a": "hook_attn_out", "m": "hook_mlp_out", "r": "hook_resid_post"}
_GEMMA_SETS = {"att": "attn.hook_z", "mlp": "hook_mlp_out", "res": "hook_resid_post"}
_GEMMA_KINDS = {"attn_out": "attn.hook_z", "mlp_out": "hook_mlp_out", "resid_post": "hook_resid_post"}


def catalog(model: str = "") -> Iterator[CatalogEntry]:
    """Walks sae-lens' whole registry, in its order.

    Args:
        model: Only releases for models whose name contains this, whatever its case.

    Raises:
        InvalidInput: If sae-lens is not installed.
    """
    for release in registry().values():
        if model.lower() in release.model.lower():
            for id in release.entries:
                yield described(release, id)


def described(release: Release, id: str) -> CatalogEntry:
    """Returns what is known of an entry.

    Args:
        release: A release.
        id: Id of one of its entries.
    """
    hook, unreadable = reading(release, id, release.entries[id])
    architecture = MODELS.get(release.model, "")
    unhookable = hooking(release.model, architecture, hook)
    return CatalogEntry(release.name, id, release.model, architecture, hook, unreadable, unhookable)


def reading(release: Release, id: str, entry: Entry) -> tuple[HookPoint | None, Obstacle | None]:
    """Steps 1 to 3: where an entry reads, and what is in the way of reading it."""
    kind = no_sae(release.loader, entry.path)
    if kind is not None:
        return None, kind
    place = place_of(release, id, entry.path)
    try:
        hook = find_hook(place)
    except InvalidInput:
        where = re.sub(r"^blocks\.\d+\.", "", place)
        return None, Obstacle(where, f"reads {where}, which is no hook point here", ours=True)
    normalized = release.overrides.get("normalize_activations") not in FOLDED or LAYER_NORMED.fullmatch(release.name)
    return hook, NORMALIZED if normalized else None


def no_sae(loader: str, path: str) -> Obstacle | None:
    """Step 1."""
    if loader == "gemma_3" and path.startswith(("transcoder", "clt")):
        return TRANSCODER
    if loader in NO_SAE or loader in READ:
        return NO_SAE.get(loader)
    return Obstacle(loader, f"is in a format that is not known here, {loader}", ours=True)


def place_of(release: Release, id: str, path: str) -> str:
    """Step 2: the name of a place in TransformerLens' words; "" where only the files say it."""
    match release.loader:
        case "gemma_2" if path.startswith("embedding"):
            # A Gemma adds nothing to its embeddings before the first layer.
            return "blocks.0.hook_resid_pre"
        case "gemma_2":
            layer, kind = path.partition("/")[0].removeprefix("layer_"), release.repository.rpartition("-")[2]
            return f"blocks.{layer}.{_GEMMA_SETS.get(kind, kind)}"
        case "gemma_3":
            found = _SCOPE_2.fullmatch(path)
            return f"blocks.{found['layer']}.{_GEMMA_KINDS.get(found['kind'], found['kind'])}" if found else ""
        case "llama_scope" | "llama_scope_r1_distill":
            found = _SCOPE.match(id)
            return f"blocks.{found['layer']}.{_LETTERS[found['letter']]}" if found else ""
        case "connor_rob_hook_z":
            return id.replace(".hook_z", ".attn.hook_z")
        case "dictionary_learning_1" | "qwen_scope" | "goodfire" | "deepseek_r1":
            found = _NUMBERED.search(path)
            return f"blocks.{found[found.lastgroup]}.hook_resid_post" if found and found.lastgroup else ""
        case _:
            found = _LENS.match(id)
            return found[0] if found else ""


def hooking(model: str, architecture: str, hook: HookPoint | None) -> Obstacle | None:
    """Step 4."""
    if not architecture:
        return Obstacle(model, f"is for {model}, whose architecture is not known here", ours=True)
    sites = sites_of(architecture)
    if not sites:
        return Obstacle(architecture, f"is for {architecture}, in which no hook is proven here", ours=True)
    if hook is not None and hook.site not in sites:
        return Obstacle(hook.site.value, f"reads {hook.site}, where no hook is proven in {architecture}", ours=True)
    return None
