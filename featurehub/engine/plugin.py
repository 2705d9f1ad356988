"""The entry point ``vllm.general_plugins``: runs in every vLLM process, before a model is built.

It only registers names; the op and the runner's adapter come with the first hooked model, in the worker that builds it.
"""

from featurehub.errors import UnsupportedModel

__all__ = ["ARCHITECTURES", "check_architecture", "register"]

_FAMILIES = "featurehub.engine.families"
ARCHITECTURES = {
    "LlamaForCausalLM": f"{_FAMILIES}:HookedLlamaForCausalLM",
    "MistralForCausalLM": f"{_FAMILIES}:HookedMistralForCausalLM",
    "Qwen2ForCausalLM": f"{_FAMILIES}:HookedQwen2ForCausalLM",
    "Qwen3ForCausalLM": f"{_FAMILIES}:HookedQwen3ForCausalLM",
}


def register() -> None:
    from vllm import ModelRegistry

    for architecture, hooked in ARCHITECTURES.items():
        ModelRegistry.register_model(architecture, hooked)


def check_architecture(architecture: str) -> None:
    """Raises UnsupportedModel for an architecture whose layers the engine does not know: it would serve unsteered."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModel(f"featurehub cannot hook {architecture} yet. It knows {known}.", param="model")
