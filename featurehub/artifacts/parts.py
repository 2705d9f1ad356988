"""Which part of a model a tensor belongs to, by its name: in a checkpoint, or as vLLM has joined them."""

import re

from featurehub.artifacts.manifest import HookPoint, Site

__all__ = ["layer_of", "reads_hook"]

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_BESIDE = re.compile(r"(?:^|[._])(?:vision|visual|vit|image|audio|speech|projector|mm|qformer|connector)(?:[._]|$)")
"""In names of what turns images and sounds into tokens, layers of its own included."""
_BEFORE_FIRST_LAYER = re.compile(r"embed(?!_out)|\.?wte\.|\.?wpe\.")
_FINAL_NORM = re.compile(r"(?:^|\.)(?:\w*norm|norm_f|ln_f)\.(?:weight|bias)$")


def reads_hook(tensor: str, point: HookPoint) -> bool:
    """Whether what lies at a hook point depends on the tensor of this name: all of its layer counts."""
    own = layer_of(tensor)
    if own is not None:
        return own <= point.layer
    last = point.site is Site.FINAL_NORM and _FINAL_NORM.search(tensor)
    return bool(last or _BEFORE_FIRST_LAYER.search(tensor) or _BESIDE.search(tensor))


def layer_of(tensor: str) -> int | None:
    """The layer that the tensor of this name belongs to; None for one outside the layers that write text."""
    found = None if _BESIDE.search(tensor) else _LAYER.search(tensor)
    return int(found[1]) if found else None
