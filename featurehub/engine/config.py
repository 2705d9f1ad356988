"""What the engine is told: which SAEs at which hook points. Travels in vLLM's ``additional_config``.

vLLM's compile cache hashes ``additional_config``, so everything that changes the compiled graph stands here: the
engine's version, the hook points, and the buffers' shapes. What only the server's frontend needs goes another way
(``featurehub.settings.FRONTEND``).
"""

import itertools
from collections.abc import Collection, Iterable
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
"""Where the configuration lies in ``additional_config``, and the steering in a request's ``extra_args``."""
VERSION = 2
"""Version of the engine: part of the compile cache's key and of the salts of KV blocks."""


class SaeConfig(Frozen):
    """An SAE that the engine holds.

    Attributes:
        id: Content hash of its weights.
        folder: Folder of its artifact.
        d_sae: Number of its latents.
    """

    id: str
    folder: Path
    d_sae: int = Field(ge=1)


class HookConfig(Frozen):
    """One hook point, with the SAEs that read and write there.

    Attributes:
        point: Layer and site of the hook.
        saes: The SAEs; empty for a hook point that is only captured.
    """

    point: HookPoint
    saes: tuple[SaeConfig, ...] = ()


class EngineConfig(Frozen):
    """The hook points of one engine, in the order in which a token passes them.

    Attributes:
        version: Version of the engine that wrote this configuration.
        hooks: The hook points, at least one, each named once.
        max_edits: K, the maximum number of edits in a request, 1 to 256.
        max_conditions: C, the maximum number of distinct conditions in a request, including those of its aborts, 1 to
            32. It limits the number of aborts too.
        truncated: Whether to load only the layers up to the last hook point. Such an engine captures the same streams
            as the whole model, but its answers are meaningless. It can hold no SAE.
        weights: Fingerprint of the loaded model, part of the salt of KV blocks: engines that share a KV cache but
            run different models must have different ones.
    """

    version: int = VERSION
    hooks: tuple[HookConfig, ...] = Field(min_length=1)
    max_edits: int = Field(default=32, ge=1, le=256)
    max_conditions: int = Field(default=16, ge=1, le=32)
    truncated: bool = False
    weights: str = ""

    @model_validator(mode="after")
    def check(self) -> Self:
        """Raises ValueError for hook points out of order, an SAE named twice, or a truncated engine with SAEs."""
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
        """Number of layers up to and including that of the last hook point."""
        return self.hooks[-1].point.layer + 1

    @property
    def saes(self) -> dict[str, SaeConfig]:
        """The SAEs of all hook points by id, in the order of the hook points."""
        return {sae.id: sae for hook in self.hooks for sae in hook.saes}

    @property
    def place(self) -> dict[str, int]:
        """The index of each SAE's hook point, by the SAE's id."""
        return {sae.id: i for i, hook in enumerate(self.hooks) for sae in hook.saes}

    def with_saes(self, *artifacts: Artifact) -> Self:
        """The same engine with further SAEs at its hook points.

        Raises:
            InvalidConfig: An SAE lies at another hook point, or is there already.
        """
        points = [str(hook.point) for hook in self.hooks]
        for manifest in (artifact.manifest for artifact in artifacts):
            if str(manifest.hook) not in points:
                raise InvalidConfig(
                    f"the SAE {manifest.name} reads {manifest.hook}, and this engine has hooks at {', '.join(points)} "
                    "only; to get others, start it anew"
                )
        return self.filled(
            hook.saes + tuple(sae_config(each) for each in artifacts if each.manifest.hook == hook.point)
            for hook in self.hooks
        )

    def only(self, ids: Collection[str]) -> Self:
        """The same engine with those of its SAEs that have these ids; a hook point may be left without any."""
        return self.filled(tuple(sae for sae in hook.saes if sae.id in ids) for hook in self.hooks)

    def filled(self, saes: Iterable[tuple[SaeConfig, ...]]) -> Self:
        """The same engine with these SAEs at each of its hook points. Raises InvalidConfig where one is named twice."""
        hooks = tuple(HookConfig(point=hook.point, saes=own) for hook, own in zip(self.hooks, saes, strict=True))
        try:
            return type(self).model_validate({**dict(self), "hooks": hooks})
        except ValidationError as error:
            raise InvalidConfig(error.errors()[0]["msg"]) from None

    @classmethod
    def capturing(cls, *points: HookPoint, truncated: bool = False) -> Self:
        """An engine without SAEs, for harvesting.

        Args:
            *points: Hook points to capture, in the order in which a token passes them.
            truncated: Whether to load only the layers up to the last of them.
        """
        return cls(hooks=tuple(HookConfig(point=point) for point in points), truncated=truncated)

    @classmethod
    def holding(cls, *artifacts: Artifact, **fields: Any) -> Self:
        """An engine with these SAEs, each at the hook point that it was trained at.

        Args:
            *artifacts: The SAEs, in any order; the first at the earliest hook point is the engine's first SAE.
            **fields: Other fields of ``EngineConfig``.

        Raises:
            InvalidConfig: No SAE is given, one is given twice, or a field is out of range.
        """
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

    def also_capturing(self, point: HookPoint) -> Self:
        """The same engine with this hook point among those that it can capture."""
        if point in (hook.point for hook in self.hooks):
            return self
        hooks = sorted((*self.hooks, HookConfig(point=point)), key=lambda hook: hook.point.order)
        return self.model_copy(update={"hooks": tuple(hooks)})

    def to_additional_config(self) -> dict[str, Any]:
        """This configuration as the value of vLLM's ``additional_config``."""
        return {KEY: self.model_dump(mode="json")}

    @classmethod
    def of(cls, vllm_config: "VllmConfig") -> "EngineConfig | None":
        """Reads the configuration that vLLM was started with.

        Returns:
            The configuration, or None if vLLM was started without featurehub.

        Raises:
            InvalidConfig: ``additional_config`` holds a configuration that is not valid.
        """
        additional = vllm_config.additional_config
        if not isinstance(additional, dict) or KEY not in additional:
            return None
        try:
            return cls.model_validate(additional[KEY])
        except ValidationError as error:
            raise InvalidConfig(f"additional_config.{KEY}: {error.errors()[0]}") from None


def sae_config(artifact: Artifact) -> SaeConfig:
    return SaeConfig(id=artifact.manifest.id, folder=artifact.folder, d_sae=artifact.manifest.d_sae)
