"""Tiny GGUF files, written with gguf's own writer as llama.cpp's converter does."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "Ġ t", "Ġt he", "Ġ Ġ", "1 9", "Ġ 1")
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
LAYERS, WIDTH, HEADS, KV_HEADS = 2, 64, 4, 2
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def model(seed: int = 0) -> LlamaForCausalLM:
    """A tiny Llama with random weights and a head of its own."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=128, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write(
    file: Path, *, split: str = "smollm", bos_first: bool | None = None, scaled: bool = False, **more: Any
) -> Path:
    """Writes the tiny model into a file: matrices in blocks of 8 bits and 4 bits, vectors as they are.

    Args:
        file: Where to.
        split: Name of the rule that splits words; "" for none.
        bos_first: Whether a text begins with the first special token; None leaves it out.
        scaled: Whether to write factors that scale positions, as Llama 3.1 has.
        more: Further strings of the metadata, with ``__`` for each dot.
    """
    writer = gguf.GGUFWriter(file, "llama")
    write_shape(writer)
    write_vocabulary(writer, split, bos_first)
    for key, value in more.items():
        writer.add_string(key.replace("__", "."), value)
    write_tensors(writer, scaled)
    return finished(writer, file)


def finished(writer: Any, file: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_shape(writer: Any) -> None:
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(TOKENS))


def write_sentencepiece(file: Path, bos_first: bool) -> Path:
    """Writes the tiny model with a vocabulary of SentencePiece's kind, which has as many tokens."""
    writer = gguf.GGUFWriter(file, "llama")
    write_shape(writer)
    control, byte, normal, unknown = (getattr(gguf.TokenType, k) for k in ("CONTROL", "BYTE", "NORMAL", "UNKNOWN"))
    pieces = ["▁", "h", "e", "he", "▁he", "é"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *pieces]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in (5, 4, 3, 2, 1, 6)])
    writer.add_token_types([unknown, control, control, *[byte] * 256, *[normal] * len(pieces)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(bos_first)
    write_tensors(writer, scaled=False)
    return finished(writer, file)


def write_vocabulary(writer: Any, split: str, bos_first: bool | None) -> None:
    writer.add_tokenizer_model("gpt2")
    if split:
        writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token in TOKENS])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    if bos_first is not None:
        writer.add_add_bos_token(bos_first)


def write_tensors(writer: Any, scaled: bool) -> None:
    for name, tensor in model().state_dict().items():
        values, heads = tensor.numpy(), {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
        kind = gguf.GGMLQuantizationType.F32
        if values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1 if "mlp" in name else gguf.GGMLQuantizationType.Q8_0
            values = gguf.quants.quantize(turned(values, heads) if heads else values, kind)
        writer.add_tensor(renamed(name), values, raw_dtype=kind)
    if scaled:
        writer.add_tensor("rope_freqs.weight", np.ones(WIDTH // HEADS // 2, np.float32))


def turned(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries and keys as llama.cpp orders them: pairs of a rotation lie side by side."""
    return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def renamed(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, *rest, end = name.split(".")
        return f"blk.{layer}.{NAMES['.'.join(rest)]}.{end}"
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    return f"{outer[name.removesuffix('.weight')]}.weight"
