"""The engines of a run: what each of them loads. Starting one is reported as a phase."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.artifacts.checkpoint import read_config
from featurehub.artifacts.files import sha256, workspace
from featurehub.artifacts.fingerprint import layers_in
from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.runs.progress import Progress

__all__ = ["Engines", "holding"]


class Engines(NamedTuple):
    """Starts engines of one model. Each method is a context manager; run one engine at a time.

    Attributes:
        model: Folder of the model.
        options: Options of the engines.
        progress: Told when an engine starts.
    """

    model: Path
    options: EngineOptions
    progress: Progress

    def reading(self, *points: HookPoint) -> AbstractContextManager[Engine]:
        """An engine of the layers up to the last hook point: reads faster than the whole model, but cannot generate."""
        return self.started("starting the engine", EngineConfig.capturing(*points, truncated=True))

    def answering(self, hook: HookPoint) -> AbstractContextManager[Engine]:
        """An engine of the whole model: reads at the hook point, and generates."""
        return self.started("starting the engine with all layers", EngineConfig.capturing(hook))

    def steering(self, config: EngineConfig) -> AbstractContextManager[Engine]:
        """An engine of the whole model with the SAEs in ``config``: reads, generates, steers, and captures its end."""
        last = HookPoint(layer=layers_in(read_config(self.model)) - 1)
        return self.started("starting the engine with the SAE", config.also_capturing(last))

    @contextmanager
    def trying(self, dictionary: Dictionary, hook: HookPoint, out: Path) -> Iterator[Engine]:
        """An engine of the whole model with an SAE that is no artifact: reads, generates, and steers.

        Args:
            dictionary: The SAE.
            hook: Where it reads and writes.
            out: The SAE's weights lie in a hidden folder beside it meanwhile.
        """
        with workspace(out) as own, self.steering(holding(dictionary, hook, own)) as engine:
            yield engine

    @contextmanager
    def started(self, phase: str, config: EngineConfig) -> Iterator[Engine]:
        """Starts an engine, reports that as a phase, and shuts the engine down at the end of the ``with`` block."""
        with self.progress.phase(phase):
            engine = Engine(self.model, config, self.options)
        with engine:
            yield engine


def holding(dictionary: Dictionary, hook: HookPoint, folder: Path) -> EngineConfig:
    """The configuration of an engine with an SAE that is not an artifact yet.

    Args:
        dictionary: The SAE.
        hook: Where it reads and writes.
        folder: Its weights are written here.
    """
    path = folder / WEIGHTS
    dictionary.save(path)
    sae = SaeConfig(id=sha256(path), folder=folder, d_sae=dictionary.d_sae)
    return EngineConfig(hooks=(HookConfig(point=hook, saes=(sae,)),))
