"""What modules of vLLM's models are mostly called, where no row of ``featurehub.families`` says it."""

from featurehub.artifacts.manifest import Site

__all__ = ["FINAL_NORMS", "NAMES", "ROUTERS", "TAKERS"]

ATTENTION = ("self_attn", "self_attention", "attn", "attention", "linear_attn", "mixer", "mamba")
MLP = ("mlp", "feed_forward", "block_sparse_moe", "moe", "ffn")
NAMES = {
    Site.ATTN_IN: ATTENTION,
    Site.MLP_IN: MLP,
    # Norms behind attention and MLP, whose outputs are what is added, come first.
    Site.ATTN_OUT: ("post_self_attn_layernorm", *ATTENTION),
    Site.MLP_OUT: ("post_feedforward_layernorm", "post_mlp_layernorm", *MLP),
    Site.RESID_MID: ("pre_feedforward_layernorm", "pre_mlp_layernorm", "post_attention_layernorm", "ln_2", "ffn_norm",
                     "pre_ff_layernorm"),
}  # fmt: skip
"""Of modules in a layer, the likeliest first."""
TAKERS = {
    Site.Z: (("self_attn", "self_attention", "attn", "attention"),
             ("o_proj", "out_proj", "c_proj", "dense", "wo", "linear_proj")),
    Site.MLP_ACT: (("mlp", "feed_forward", "ffn"),
                   ("down_proj", "c_proj", "dense_4h_to_h", "w2", "fc2", "fc_out", "dense_out")),
}  # fmt: skip
"""The names of a layer's part, and of the module in it that takes what lies at a site."""
FINAL_NORMS = ("norm", "final_norm", "norm_f", "ln_f", "final_layernorm", "final_layer_norm", "embedding_norm")
"""Beside the layers, or further out."""
ROUTERS = ("gate", "router")
"""In an MLP of experts, what chooses among them."""
