"""Models that a server may have loaded."""

from featurehub.artifacts.manifest import ModelIdentity

__all__ = ["HOME", "model"]

HOME = "m" * 64
"""The weights that the SAEs of these tests were trained on."""


def model(whole: str = HOME, **changed: str) -> ModelIdentity:
    """The SAEs' own function, where nothing is said."""
    return ModelIdentity(
        name="demo", architecture="LlamaForCausalLM", d_model=8, layers=4, dtype="float32", reads="r" * 64,
        whole=whole, tokenizer="t" * 64, chat_template="c" * 64, tokenization="k" * 64, config="g" * 64,
    ).model_copy(update=changed)  # fmt: skip
