"""What other projects call hook points, in our words.

    TransformerLens       blocks.3.hook_resid_post, …resid_pre, …resid_mid, …attn_out, …mlp_out;
                          blocks.3.attn.hook_z; blocks.3.mlp.hook_post is mlp_act; blocks.3.attn.hook_in and
                          blocks.3.mlp.hook_in, of its bridge and of circuit-tracer, are attn_in and mlp_in
                          in a layer of experts, mlp.gate.hook_out is router
    Hugging Face modules  layers.3, h.3, layers.3.mlp, layers.3.attention, layers.3.self_attn
    nnsight               model.layers[3].output, …mlp.output; model.layers[3].self_attn.o_proj.input is z,
                          model.layers[3].mlp.down_proj.input mlp_act; model.layers[3].self_attn.input is
                          attn_in, model.layers[3].mlp.input mlp_in
    dictionary_learning   resid_post_layer_3, mlp_out_layer_3, …

An SAE of a module's output on its way into the stream reads what attention or MLP add, unless a norm lies between them
(Gemma): there Gemma Scope names the norm, ``post_feedforward_layernorm.output``, which is what we call mlp_out. What
takes the tensor at a site, such as attention's output projection, has the name that ``featurehub.families`` has.

The final norm's names, such as ``ln_final.hook_out``, say no layer: whoever imports an SAE of it says the last one.
TransformerLens' own ``hook_attn_in`` and ``hook_mlp_in`` lie before the norm, at the stream, and its
``ln2.hook_normalized`` is without the weights of an RMSNorm: neither is what attention or the MLP is given.

A name may not say anything, such as that of a renamed folder; then whoever imports the SAE says where it reads. A name
of another place, such as ``blocks.3.attn.hook_q``, is refused in any case.
"""

import re

from featurehub.artifacts.manifest import GIVEN, TAKEN, HookPoint, Site
from featurehub.errors import InvalidInput
from featurehub.families import FAMILIES

__all__ = ["find_hook", "hook_point", "lens_name"]

_SITE = "|".join(Site)
_OF_LENS = {site: f"hook_{site}" for site in Site} | {
    Site.ATTN_IN: "attn.hook_in",
    Site.Z: "attn.hook_z",
    Site.MLP_IN: "mlp.hook_in",
    Site.ROUTER: "mlp.gate.hook_out",
    Site.MLP_ACT: "mlp.hook_post",
}
_FINAL_NORM = ("ln_final.hook_out", *sorted({f"{row.final_norm}.output" for row in FAMILIES.values()}))
_LENS = {name: site for site, name in _OF_LENS.items() if site is not Site.FINAL_NORM} | {
    "hook_z": Site.Z,
    "hook_mlp_act": Site.MLP_ACT,
}
_TAKERS = {f"{getattr(row, site)}.input": site for row in FAMILIES.values() for site in TAKEN | GIVEN}
_MODULES = {
    "output": Site.RESID_POST,
    "mlp": Site.MLP_OUT,
    "attn": Site.ATTN_OUT,
    "attention": Site.ATTN_OUT,
    "self_attn": Site.ATTN_OUT,
    **{f"{name}.output": Site.ATTN_OUT for name in ("attn", "attention", "self_attn")},
    "mlp.output": Site.MLP_OUT,
    "post_feedforward_layernorm.output": Site.MLP_OUT,
    "mlp.gate.output": Site.ROUTER,
    "mlp.router.output": Site.ROUTER,
    **_TAKERS,
}
"""What stands behind a layer's own name, where that is one of Hugging Face's."""
_NAMES = [
    re.compile(pattern)
    for pattern in (
        rf"blocks\.(?P<layer>\d+)\.(?P<site>{'|'.join(map(re.escape, _LENS))})",
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
    **_LENS,
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


def lens_name(point: HookPoint) -> str:
    """The name of a hook point in TransformerLens, and so in sae-lens."""
    return _FINAL_NORM[0] if point.site is Site.FINAL_NORM else f"blocks.{point.layer}.{_OF_LENS[point.site]}"


def find_hook(name: str) -> HookPoint | None:
    """Returns the hook point of a name, or None if the name does not say anything.

    Raises:
        InvalidInput: If the name is of a place where SAEs cannot read and write here.
    """
    if name in _FINAL_NORM:
        return None
    known = any(pattern.fullmatch(name) for pattern in (*_NAMES, _ELSEWHERE))
    return hook_point(name) if known else None
