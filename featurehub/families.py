"""The architectures that featurehub knows: how their layers pass on the stream, and how they read it out.

Data alone. ``featurehub.engine.tower`` uses it to put hooks into vLLM's models, ``saes.host`` into those of
transformers, and ``labeling.unembedding`` reads the final norm and the head out of a checkpoint. The engine finds for
itself how an architecture without a row is made, and proves what it found, as it proves a row, when a model is loaded
(``featurehub.engine.self_check``); the others need the row.
"""

from enum import StrEnum
from typing import NamedTuple

from featurehub.errors import UnsupportedModel

__all__ = ["ARCHITECTURES", "FAMILIES", "LLAMA", "MISSING", "TEXT_TYPES", "Family", "Norm", "check_mid", "family_of"]


class Norm(StrEnum):
    """What the model does to the stream before the head.

    Attributes:
        RMS: x · weight / rms(x).
        RMS_OFFSET: x · (1 + weight) / rms(x), as in Gemma.
        LAYER: (x − mean(x)) · weight / std(x) + bias.
    """

    RMS = "rms"
    RMS_OFFSET = "rms_offset"
    LAYER = "layer"


class Family(NamedTuple):
    """How an architecture is made. Modules and tensors have the names of transformers and its checkpoints.

    Attributes:
        layers: Path of the list of layers.
        vllm_layers: The same in vLLM's model.
        pair: Whether vLLM's layers hand on ``(delta, residual)``, whose sum is the stream; else the stream itself.
        attn_in: Module in a layer that is given what attention reads.
        mlp_in: Module in a layer that is given what the MLP reads.
        attn_out: Module in a layer whose output attention adds to the stream.
        mlp_out: Module in a layer whose output the MLP adds to the stream.
        vllm_mlp: The MLP in vLLM, where it has another name there.
        z: Path, in a layer, of attention's output projection, which takes the outputs of the heads.
        mlp_act: Path, in a layer, of the MLP's output projection, which takes the neurons. A layer of experts has none.
        mid: Module in a layer that reads the stream between the two, mostly a norm; "" where they run side by side.
        norm: How the final norm works.
        final_norm: The final norm's module.
        head: The unembedding's tensor, [vocab, d_model], where it is not tied to the embedding.
        embedding: The embedding's tensor, [vocab, d_model].
        tied: Whether the head is the embedding where a checkpoint's configuration does not say.
        in_out: Whether checkpoints keep the layers' matrices as [in, out], and not as [out, in].
        project_out: A tensor [d_embedding, d_model] between final norm and head, which some checkpoints have.
    """

    layers: str = "model.layers"
    vllm_layers: str = "model.layers"
    pair: bool = True
    attn_in: str = "self_attn"
    mlp_in: str = "mlp"
    attn_out: str = "self_attn"
    mlp_out: str = "mlp"
    vllm_mlp: str = ""
    z: str = "self_attn.o_proj"
    mlp_act: str = "mlp.down_proj"
    mid: str = "post_attention_layernorm"
    norm: Norm = Norm.RMS
    final_norm: str = "model.norm"
    head: str = "lm_head.weight"
    embedding: str = "model.embed_tokens.weight"
    tied: bool = False
    in_out: bool = False
    project_out: str = ""


MISSING = {
    "z": "this layer has no attention whose heads an output projection takes",
    "router": "this layer has no router that chooses among experts",
    "mlp_act": "this layer has no MLP whose neurons one output projection takes; experts have neurons of their own",
}
"""Why a layer has no such site."""

LLAMA = Family()
GEMMA1 = Family(norm=Norm.RMS_OFFSET, tied=True)
MIXTRAL = Family(vllm_mlp="block_sparse_moe")
# Its layers return the stream, and beside it what they began with.
COHERE = Family(pair=False, mid="", norm=Norm.LAYER, tied=True)
# vLLM runs most of these on transformers' own layers.
STREAMED = Family(pair=False)
OLMO2 = STREAMED._replace(attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm", mid="mlp")
STARCODER2 = STREAMED._replace(mlp_act="mlp.c_proj", norm=Norm.LAYER, tied=True)
# In Gemma, what attention and MLP add to the stream passes a norm of its own first.
GEMMA = Family(
    attn_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    mid="pre_feedforward_layernorm",
    norm=Norm.RMS_OFFSET,
    tied=True,
)
GPT2 = Family(
    layers="transformer.h",
    vllm_layers="transformer.h",
    pair=False,
    attn_in="attn",
    attn_out="attn",
    z="attn.c_proj",
    mlp_act="mlp.c_proj",
    mid="ln_2",
    norm=Norm.LAYER,
    final_norm="transformer.ln_f",
    embedding="transformer.wte.weight",
    tied=True,
    in_out=True,
)
# vLLM runs GPT-NeoX on transformers' own layers, under another path.
NEOX = Family(
    layers="gpt_neox.layers",
    pair=False,
    attn_in="attention",
    attn_out="attention",
    z="attention.dense",
    mlp_act="mlp.dense_4h_to_h",
    norm=Norm.LAYER,
    final_norm="gpt_neox.final_layer_norm",
    head="embed_out.weight",
    embedding="gpt_neox.embed_in.weight",
)
OPT = Family(
    layers="model.decoder.layers",
    vllm_layers="model.decoder.layers",
    pair=False,
    mlp_in="fc1",
    mlp_out="fc2",
    z="self_attn.out_proj",
    mlp_act="fc2",
    mid="final_layer_norm",
    norm=Norm.LAYER,
    final_norm="model.decoder.final_layer_norm",
    embedding="model.decoder.embed_tokens.weight",
    tied=True,
    project_out="model.decoder.project_out.weight",
)

FAMILIES = {
    "ArceeForCausalLM": STREAMED,
    "CohereForCausalLM": COHERE,
    "Cohere2ForCausalLM": COHERE,
    "GPT2LMHeadModel": GPT2,
    "GPTNeoXForCausalLM": NEOX,
    "GemmaForCausalLM": GEMMA1,
    "Gemma2ForCausalLM": GEMMA,
    "Gemma3ForCausalLM": GEMMA,
    "GlmForCausalLM": STREAMED,
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "MixtralForCausalLM": MIXTRAL,
    "OPTForCausalLM": OPT,
    "Olmo2ForCausalLM": OLMO2,
    "Olmo3ForCausalLM": OLMO2,
    "OlmoeForCausalLM": LLAMA,
    "Phi3ForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
    "Qwen2MoeForCausalLM": LLAMA,
    "Qwen3ForCausalLM": LLAMA,
    "Qwen3MoeForCausalLM": LLAMA,
    "SeedOssForCausalLM": STREAMED,
    "SmolLM3ForCausalLM": STREAMED,
    "Starcoder2ForCausalLM": STARCODER2,
}
ARCHITECTURES = tuple(FAMILIES)
TEXT_TYPES = {
    "cohere2": "Cohere2ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_vl_text": "Qwen2ForCausalLM",
    "qwen2_5_vl_text": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""By the type of a multimodal model's text part, the architecture that its language model is."""


def family_of(architecture: str) -> Family:
    """The row of an architecture.

    Args:
        architecture: Its name in ``config.json``, such as "LlamaForCausalLM".

    Raises:
        UnsupportedModel: The architecture has no row.
    """
    if architecture not in FAMILIES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(f"featurehub has no row for {architecture} yet. It knows {known}.", param="model")
    return FAMILIES[architecture]


def check_mid(point: object, family: Family, config: object) -> None:
    """Checks that a stream lies between attention and MLP.

    Args:
        point: The hook point, for the message.
        family: The architecture's row.
        config: The model's configuration, as transformers reads it.

    Raises:
        UnsupportedModel: The two run side by side, or the norm stands after the MLP.
    """
    if not family.mid or getattr(config, "use_parallel_residual", False):
        raise UnsupportedModel(f"{point}: attention and MLP of this model run side by side, so there is no resid_mid")
    if not getattr(config, "do_layer_norm_before", True):
        raise UnsupportedModel(f"{point}: this model's norm stands behind its MLP; hook resid_post instead")
