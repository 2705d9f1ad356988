"""The shape of the bundled model: a plain Llama, small enough to ship and to train on two cores."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from featurehub.demo.tokenizer import BOS, EOS, save_tokenizer, vocabulary

__all__ = ["SHARPNESS", "build_model", "load_model", "save_model", "sharpen"]

WIDTH, LAYERS, HEADS, INNER = 192, 5, 6, 512
CONTEXT = 512
SHARPNESS = 1.12
"""The factor by which the logits of the models that ship are multiplied; see ``sharpen``."""


def build_model(seed: int) -> LlamaForCausalLM:
    """Builds an untrained model whose random weights follow from ``seed``."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(_config())


def sharpen(model: LlamaForCausalLM, factor: float = SHARPNESS) -> None:
    """Multiplies every logit by ``factor``, in place, through the weight of the last norm.

    After so little training, a few per cent of probability are left on words that the grammar forbids. The models that
    ship are a little more certain than they learned to be, as if sampled at a lower temperature; their residual stream
    is unchanged.

    Args:
        model: The model to change.
        factor: Above 0; 1 changes nothing.
    """
    model.model.norm.weight.data.mul_(factor)


def save_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Writes a model's config, tokenizer and weights to a folder, which is created if necessary.

    Weights are rounded to float16; the config still asks for float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    assert model.generation_config is not None
    model.generation_config.save_pretrained(folder)
    save_tokenizer(folder)
    tensors = {
        name: tensor.detach().to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def load_model(folder: Path) -> LlamaForCausalLM:
    """Loads a model that ``save_model`` wrote, in float32 and in evaluation mode."""
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    return model.eval()


def _config() -> LlamaConfig:
    tokens = vocabulary()
    return LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokens.index(BOS),
        eos_token_id=tokens.index(EOS),
        pad_token_id=tokens.index(EOS),
        dtype="float32",
        architectures=["LlamaForCausalLM"],
    )
