"""What other projects call hook points, in our words.

    TransformerLens       blocks.3.hook_resid_post, …resid_pre, …resid_mid, …attn_out, …mlp_out;
                          blocks.3.attn.hook_z; blocks.3.mlp.hook_post is mlp_act
    Hugging Face modules  layers.3, h.3, layers.3.mlp, layers.3.attention, layers.3.self_attn
    nnsight               model.layers[3].output, …mlp.output; model.layers[3].self_attn.o_proj.input is z,
                          model.layers[3].mlp.down_proj.input mlp_act
    dictionary_learning   resid_post_layer_3, mlp_out_layer_3, …

An SAE of a module's output on its way into the stream reads what attention or MLP add, unless a norm lies between them
(Gemma): there Gemma Scope names the norm, ``post_feedforward_layernorm.output``, which is what we call mlp_out. What
takes the tensor at a site, such as attention's output projection, has the name that ``featurehub.families`` has.

A name may not say anything, such as that of a renamed folder; then whoever imports the SAE says where it reads. A name
of another place, such as ``blocks.3.attn.hook_q``, is refused in any case.
"""

import re

from featurehub.artifacts.manifest import TAKEN, HookPoint, Site
from featurehub.errors import InvalidInput
from featurehub.families import FAMILIES

__all__ = ["find_hook", "hook_point"]

_SITE = "|".join(Site)
_TAKERS = {f"{getattr(row, site)}.input": site for row in FAMILIES.values() for site in TAKEN}
_MODULES = {
    "output": Site.RESID_POST,
    "mlp": Site.MLP_OUT,
    "attn": Site.ATTN_OUT,
    "attention": Site.ATTN_OUT,
    "self_attn": Site.ATTN_OUT,
    **{f"{name}.output": Site.ATTN_OUT for name in ("attn", "attention", "self_attn")},
    "mlp.output": Site.MLP_OUT,
    "post_feedforward_layernorm.output": Site.MLP_OUT,
    **_TAKERS,
}
"""What stands behind a layer's own name, where that is one of Hugging Face's."""
_NAMES = [
    re.compile(pattern)
    for pattern in (
        rf"blocks\.(?P<layer>\d+)\.hook_(?P<site>{_SITE})",
        r"blocks\.(?P<layer>\d+)\.(?P<site>attn\.hook_z|mlp\.hook_post)",
        rf"(?P<site>{_SITE})_layer_(?P<layer>\d+)",
        r"(?:\w+\.)*(?:layers|h)(?:[._](?P<layer>\d+)|\[(?P<index>\d+)\])"
        rf"(?:\.(?P<site>{'|'.join(map(re.escape, _MODULES))}|{_SITE}))?",
    )
]
_ELSEWHERE = re.compile(r"(?:\w+\.)*(?:(?:blocks|layers|h)(?:[._]\d+|\[\d+\])\.\w.*|hook_\w+|embed\w*)")
"""Names of places inside a layer, or before all layers."""
_SITES = {
    **{site.value: site for site in Site},
    **_MODULES,
    "attn.hook_z": Site.Z,
    "mlp.hook_post": Site.MLP_ACT,
}


def hook_point(name: str) -> HookPoint:
    """Returns the hook point of a name that another project uses.

    Raises:
        InvalidInput: If the name is of a place where SAEs cannot read and write here.
    """
    for pattern in _NAMES:
        if found := pattern.fullmatch(name):
            parts = found.groupdict()
            layer = parts["layer"] or parts["index"]
            return HookPoint(layer=int(layer), site=_SITES[parts["site"] or "output"])
    raise InvalidInput(
        f"cannot import an SAE of {name!r}; hook points are {', '.join(Site)} of a layer", param="source"
    )


def find_hook(name: str) -> HookPoint | None:
    """Returns the hook point of a name, or None if the name does not say anything.

    Raises:
        InvalidInput: If the name is of a place where SAEs cannot read and write here.
    """
    known = any(pattern.fullmatch(name) for pattern in (*_NAMES, _ELSEWHERE))
    return hook_point(name) if known else None
