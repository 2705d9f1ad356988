"""What an SAE and its database show of texts, taken from texts that may be passed on.

The text that an SAE was trained on may be private, or its licence may forbid handing it to others; canaries and the
example contexts of features are pieces of it. They can be replaced by pieces of other texts:

1. read the other texts with the model
2. choose canaries among them, and let the model answer their prompts
3. take each feature's strongest contexts from them
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import EngineOptions
from featurehub.records import Context
from featurehub.runs.baseline import BaselineConfig, evaluated, keep_baseline
from featurehub.runs.engines import Engines
from featurehub.runs.harvest import read_documents
from featurehub.runs.matching import identify_own
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.survey import corpus_of
from featurehub.token_ids import Entry
from labeling.statistics import StatisticsConfig, contexts_of

__all__ = ["Examples", "Excerpts"]


class Excerpts(NamedTuple):
    """Pieces of texts.

    Attributes:
        contexts: Stretches in which each latent fires most, by latent.
        canary_explained_variance: How well the SAE reconstructs the canaries.
    """

    contexts: Mapping[int, tuple[Context, ...]]
    canary_explained_variance: float


class Examples(NamedTuple):
    """Texts that may be passed on.

    Attributes:
        model: Folder of the model that the SAE was trained on.
        entries: The texts or chats.
        config: How canaries are chosen among them.
        progress: Receives progress reports.
    """

    model: Path
    entries: Sequence[Entry]
    config: BaselineConfig = BaselineConfig()
    progress: Progress = SILENT

    def keep(self, artifact: Artifact, dictionary: Dictionary, folder: Path) -> Excerpts:
        """Steps 1 to 3; canaries and answers are written to ``folder``.

        Args:
            artifact: The SAE.
            dictionary: Its weights, as they are passed on.
            folder: A new folder, which becomes an artifact.

        Raises:
            ModelNotFound: The model's folder is not there.
            IncompatibleArtifact: The model is not known to be the one that the SAE was trained on.
            InvalidInput: There is no text.
        """
        identify_own(artifact, self.model, self.progress)
        engines = Engines(self.model, EngineOptions(), self.progress)
        with engines.answering(artifact.manifest.hook) as engine:
            documents = read_documents(engine, self.entries, None, self.progress)[: self.config.documents]
            sae = evaluated(engine, dictionary, documents, self.progress)
            metrics = keep_baseline(self.config, engine, sae, folder, self.progress)
            contexts = contexts_of(corpus_of(sae.activations, engine.tokenizer), StatisticsConfig())
        return Excerpts(contexts, metrics["canary_explained_variance"])
