"""The model classes that the plugin registers, found by name when vLLM asks for one of them.

``featurehub.engine.families`` makes them. If it cannot be imported, because featurehub does not know this vLLM,
they are subclasses of vLLM's own that refuse to be built for an engine with hooks: plain vLLM works as if
featurehub were not installed.
"""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from featurehub.artifacts.checkpoint import read_config
from featurehub.engine.config import EngineConfig
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES as ROWS

__all__ = ["FAMILIES", "HOOKED", "OWN", "PREFIX", "architectures", "check_writes_text"]

FAMILIES, HOOKED, PREFIX = "featurehub.engine.families", __name__, "Hooked"
"""The module that makes the classes, this one, in which they are looked for, and what stands before an architecture in
their names."""

OWN: dict[str, Any] = {}
"""By architecture, what vLLM had registered before featurehub."""


def architectures() -> set[str]:
    """All that may be hooked: those that have a row, and whatever else of this vLLM writes text."""
    from vllm.model_executor.models import registry

    writing = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS")
    return {*ROWS, *(name for group in writing for name in getattr(registry, group, ()))}


def check_writes_text(model: Path) -> None:
    """Checks that vLLM knows a checkpoint's architecture as one that writes text.

    Args:
        model: Folder of the checkpoint.

    Raises:
        ModelNotFound: The folder holds no checkpoint.
        InvalidInput: Its configuration cannot be read.
        UnsupportedModel: It does not.
    """
    named, known = (read_config(model).get("architectures") or ["unknown"])[0], architectures()
    if named not in known:
        near = ", ".join(get_close_matches(named, known, cutoff=0.0))
        raise UnsupportedModel(
            f"this vLLM knows no {named} that writes text. It knows {len(known)} architectures, such as {near}",
            param="model",
        )


def __getattr__(name: str) -> type[Any]:
    architecture = name.removeprefix(PREFIX)
    if architecture == name or architecture not in architectures():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(FAMILIES).hooked_class(architecture)
    except (ImportError, AttributeError) as error:
        if architecture not in OWN:
            raise
        return refusing(OWN[architecture].load_model_cls(), error)


def refusing(own: type[Any], why: Exception) -> type[Any]:
    """A subclass of vLLM's own class that refuses, with the reason, to be built for an engine with hooks."""

    class Unhooked(own):
        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            if EngineConfig.of(vllm_config) is not None:
                raise UnsupportedModel(f"featurehub cannot put hooks into {own.__name__} of this vLLM: {why}") from why
            super().__init__(vllm_config=vllm_config, prefix=prefix)

    return Unhooked
