"""The entry point ``vllm.general_plugins``: runs in every vLLM process, before a model is built.

It registers names and wraps admission; the op and the runner's adapter come with the first hooked model, in the worker
that builds it.
"""

from featurehub.errors import UnsupportedModel

__all__ = ["ARCHITECTURES", "check_architecture", "register"]

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


def register() -> None:
    from vllm import ModelRegistry

    from featurehub.engine.admission import install

    install()
    for architecture in ARCHITECTURES:
        ModelRegistry.register_model(architecture, f"featurehub.engine.families:Hooked{architecture}")


def check_architecture(architecture: str) -> None:
    """Raises UnsupportedModel for an architecture whose layers the engine does not know: it would serve unsteered."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(f"featurehub cannot hook {architecture} yet. It knows {known}.", param="model")
