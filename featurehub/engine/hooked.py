"""The model classes that the plugin registers, found by name when vLLM asks for one of them.

They are those of ``featurehub.engine.families``. Where these cannot be imported, since this vLLM is not one that
featurehub knows, they are vLLM's own, which refuse to be built for an engine that is to have hooks: plain vLLM goes on
as if featurehub were not installed.
"""

from importlib import import_module
from typing import Any

from featurehub.engine.config import EngineConfig
from featurehub.errors import UnsupportedModel
from featurehub.families import ARCHITECTURES

__all__ = ["FAMILIES", "PREFIX"]

FAMILIES, PREFIX = "featurehub.engine.families", "Hooked"

OWN: dict[str, Any] = {}
"""What vLLM had registered for an architecture before us."""


def __getattr__(name: str) -> type[Any]:
    architecture = name.removeprefix(PREFIX)
    if architecture == name or architecture not in ARCHITECTURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(FAMILIES), name)
    except (ImportError, AttributeError) as error:
        if architecture not in OWN:
            raise
        return refusing(OWN[architecture].load_model_cls(), error)


def refusing(own: type[Any], why: Exception) -> type[Any]:
    """vLLM's own class of an architecture, for engines without hooks."""

    class Unhooked(own):
        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            if EngineConfig.of(vllm_config) is not None:
                raise UnsupportedModel(f"featurehub cannot put hooks into {own.__name__} of this vLLM: {why}") from why
            super().__init__(vllm_config=vllm_config, prefix=prefix)

    return Unhooked
