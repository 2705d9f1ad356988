"""The entry point ``vllm.general_plugins``: runs in every vLLM process, before a model is built.

It registers names and wraps admission; the op and the runner's adapter come with the first hooked model, in the worker
that builds it.
"""

import sys

from featurehub.families import ARCHITECTURES

__all__ = ["FAMILIES", "register"]

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
