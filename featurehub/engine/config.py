"""What the engine is told: which SAE at which hook point. Travels in vLLM's ``additional_config``.

vLLM's compile cache hashes ``additional_config``, so everything that changes the compiled graph stands here: the
engine's version, the hooked layer, and the buffers' shapes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from featurehub.errors import InvalidConfig
from featurehub.settings import Frozen

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["KEY", "VERSION", "EngineConfig"]

KEY = "featurehub"
VERSION = 1


class EngineConfig(Frozen):
    """One hook point, with or without an SAE: an engine that only harvests needs none.

    artifact:  folder of the SAE, or None
    d_sae:     its number of latents, 0 where there is none
    max_edits: K, the width of the edit table
    served:    what the frontend needs to know and the worker ignores (see ``featurehub.engine.server``)
    """

    version: int = VERSION
    layer: int = Field(ge=0)
    artifact: Path | None = None
    d_sae: int = 0
    max_edits: int = Field(default=32, ge=1, le=256)
    served: dict[str, Any] = Field(default_factory=dict)

    def to_additional_config(self) -> dict[str, Any]:
        return {KEY: self.model_dump(mode="json")}

    @classmethod
    def of(cls, vllm_config: "VllmConfig") -> "EngineConfig | None":
        """None where vLLM was started without featurehub. Raises InvalidConfig."""
        additional = vllm_config.additional_config
        if not isinstance(additional, dict) or KEY not in additional:
            return None
        try:
            return cls.model_validate(additional[KEY])
        except ValidationError as error:
            raise InvalidConfig(f"additional_config.{KEY}: {error.errors()[0]}") from None
