"""The engines of a run: what each of them loads, and that they are said to start."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.artifacts.files import sha256
from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.progress import Progress

__all__ = ["Engines", "holding"]


class Engines(NamedTuple):
    """Starts engines of one model, one at a time."""

    model: Path
    options: EngineOptions
    progress: Progress

    def reading(self, *points: HookPoint) -> AbstractContextManager[Engine]:
        """One of the layers up to the last hook point: it reads faster than the whole model, and answers nothing."""
        return self.started("starting the engine", EngineConfig.capturing(*points, truncated=True))

    def answering(self, hook: HookPoint) -> AbstractContextManager[Engine]:
        """One of the whole model, which reads at the hook point too."""
        return self.started("starting the engine with all layers", EngineConfig.capturing(hook))

    def steering(self, config: EngineConfig) -> AbstractContextManager[Engine]:
        """One of the whole model with the SAE in ``config``: it reads, answers, and steers."""
        return self.started("starting the engine with the SAE", config)

    @contextmanager
    def started(self, phase: str, config: EngineConfig) -> Iterator[Engine]:
        with self.progress.phase(phase):
            engine = Engine(self.model, config, self.options)
        with engine:
            yield engine


def holding(dictionary: Dictionary, hook: HookPoint, folder: Path) -> EngineConfig:
    """For an engine with an SAE that is no artifact yet: its weights, which are written into ``folder``."""
    path = folder / WEIGHTS
    dictionary.save(path)
    sae = SaeConfig(id=sha256(path), folder=folder, d_sae=dictionary.d_sae)
    return EngineConfig(hooks=(HookConfig(point=hook, saes=(sae,)),))
