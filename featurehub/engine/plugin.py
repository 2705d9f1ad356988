"""The entry point ``vllm.general_plugins``: runs in every vLLM process, before a model is built.

It registers names and wraps admission; the op and the runner's adapter come with the first hooked model, in the worker
that builds it. Most vLLM processes of an environment may have nothing to do with featurehub: for them nothing changes,
even if featurehub does not know this vLLM. An engine with hooks then refuses to start.
"""

import logging
import sys

from featurehub.engine.hooked import FAMILIES, HOOKED, OWN, PREFIX, architectures
from featurehub.errors import UnsupportedModel
from featurehub.seals import secret

__all__ = ["register"]

# Below vLLM's own logger, so that its messages are shown in the same way.
logger = logging.getLogger("vllm.featurehub")


def register() -> None:
    """Wraps admission and registers the model classes. Safe to call again.

    If featurehub does not know this vLLM, a warning is logged, and only models with hooks refuse to start.
    """
    secret()  # Made before this process starts others, which inherit it.
    try:
        from featurehub.engine import admission, updates

        admission.install()
        updates.install()
    except (ImportError, UnsupportedModel) as error:
        logger.warning("featurehub cannot steer with this vLLM, which runs as if it were not installed: %s", error)
    register_models()


def register_models() -> None:
    """Registers the classes: once they are made as they are, else by name, which vLLM looks up in a new process."""
    from vllm import ModelRegistry

    made = getattr(sys.modules.get(FAMILIES), "MADE", {})
    for architecture in sorted(architectures()):
        known = ModelRegistry.models.get(architecture)
        if known is None:
            continue
        OWN.setdefault(architecture, known)
        ModelRegistry.register_model(architecture, made.get(architecture, f"{HOOKED}:{PREFIX}{architecture}"))
