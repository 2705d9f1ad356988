"""The entry point ``vllm.general_plugins``: runs in every vLLM process, before a model is built.

It registers names and wraps admission; the op and the runner's adapter come with the first hooked model, in the worker
that builds it.
"""

import sys

from featurehub.errors import UnsupportedModel

__all__ = ["ARCHITECTURES", "FAMILIES", "check_architecture", "register"]

ARCHITECTURES = (
    "GPT2LMHeadModel",
    "GPTNeoXForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "OPTForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)


FAMILIES = "featurehub.engine.families"


def register() -> None:
    """Names the classes; where they are imported already, hands them over: to look at a name, vLLM starts a process."""
    from vllm import ModelRegistry

    from featurehub.engine.admission import install

    install()
    families = sys.modules.get(FAMILIES)
    for architecture in ARCHITECTURES:
        name = f"Hooked{architecture}"
        ModelRegistry.register_model(architecture, getattr(families, name) if families else f"{FAMILIES}:{name}")


def check_architecture(architecture: str) -> None:
    """Raises UnsupportedModel for an architecture whose layers the engine does not know: it would serve unsteered."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(f"featurehub cannot hook {architecture} yet. It knows {known}.", param="model")
