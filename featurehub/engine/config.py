"""What the engine is told: which SAEs at which hook points. Travels in vLLM's ``additional_config``.

vLLM's compile cache hashes ``additional_config``, so everything that changes the compiled graph stands here: the
engine's version, the hook points, and the buffers' shapes. What only the server's frontend needs goes another way
(``featurehub.settings.FRONTEND``).
"""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import InvalidConfig
from featurehub.settings import Frozen

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["KEY", "VERSION", "EngineConfig", "HookConfig", "SaeConfig"]

KEY = "featurehub"
VERSION = 2


class SaeConfig(Frozen):
    """An SAE that the engine holds. id: content hash of its weights;  folder: where its artifact lies"""

    id: str
    folder: Path
    d_sae: int = Field(ge=1)


class HookConfig(Frozen):
    """One hook point, with the SAEs that read and write there: none where it is only captured."""

    point: HookPoint
    saes: tuple[SaeConfig, ...] = ()


class EngineConfig(Frozen):
    """The hook points of one engine, in the order in which a token passes them.

    max_edits:      K, the most edits of one request
    max_conditions: C, the most conditions of one request, those of its aborts among them
    truncated:      load the layers up to the last hook point alone: reads as ever, but what it answers means nothing
    weights:        fingerprint of the loaded function; separates KV blocks that another engine may share
    """

    version: int = VERSION
    hooks: tuple[HookConfig, ...] = Field(min_length=1)
    max_edits: int = Field(default=32, ge=1, le=256)
    max_conditions: int = Field(default=16, ge=1, le=32)
    truncated: bool = False
    weights: str = ""

    @model_validator(mode="after")
    def check(self) -> Self:
        points = [hook.point for hook in self.hooks]
        if any(a.order >= b.order for a, b in itertools.pairwise(points)):
            raise ValueError("hook points must differ, and stand in the order in which a token passes them")
        if len(self.saes) != sum(len(hook.saes) for hook in self.hooks):
            raise ValueError("the same SAE is named twice")
        if self.truncated and self.saes:
            raise ValueError("an engine of the first layers alone can only capture; it holds no SAE")
        return self

    @property
    def depth(self) -> int:
        """Layers up to the last hook point."""
        return self.hooks[-1].point.layer + 1

    @property
    def saes(self) -> dict[str, SaeConfig]:
        return {sae.id: sae for hook in self.hooks for sae in hook.saes}

    @classmethod
    def capturing(cls, *points: HookPoint, truncated: bool = False) -> Self:
        """An engine without SAEs, for harvesting."""
        return cls(hooks=tuple(HookConfig(point=point) for point in points), truncated=truncated)

    @classmethod
    def holding(cls, *artifacts: Artifact, **fields: Any) -> Self:
        """An engine with these SAEs, each at the hook point that it was trained at. Raises InvalidConfig."""
        found = {str(artifact.manifest.hook): artifact.manifest.hook for artifact in artifacts}
        points = sorted(found.values(), key=lambda point: point.order)
        hooks = (
            HookConfig(point=point, saes=tuple(sae_config(a) for a in artifacts if a.manifest.hook == point))
            for point in points
        )
        try:
            return cls(hooks=tuple(hooks), **fields)
        except ValidationError as error:
            raise InvalidConfig(error.errors()[0]["msg"]) from None

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


def sae_config(artifact: Artifact) -> SaeConfig:
    return SaeConfig(id=artifact.manifest.id, folder=artifact.folder, d_sae=artifact.manifest.d_sae)
