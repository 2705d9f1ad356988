"""What names features and scores their names: which explainer and which scorer, and the language model they ask."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from typing import NamedTuple

from featurehub.embedding import DEFAULT, open_embedder
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from labeling.examiner import LabelScorer
from labeling.explainer import Explainer
from labeling.explainers import LlmExplainer, NgramExplainer, ProjectionExplainer
from labeling.label import LabelConfig
from labeling.llm import Llm, LlmConfig
from labeling.scorers import Detection, EmbeddingScorer, Fuzzing, WordDetection

__all__ = ["ExplainerName", "Labeler", "NamingConfig", "ScorerName", "labeler_of"]


class ExplainerName(StrEnum):
    """Ways of naming latents, as ``labeling.explainers`` describes them."""

    OFFLINE = "offline"
    PROJECTION = "projection"
    LLM = "llm"


class ScorerName(StrEnum):
    """Ways of scoring labels, as ``labeling.scorers`` describes them."""

    WORDS = "words"
    DETECTION = "detection"
    FUZZING = "fuzzing"
    EMBEDDING = "embedding"


class NamingConfig(Frozen):
    """How features are named and their names scored.

    Attributes:
        explainer: Names features.
        scorer: Scores their names; None for detection where a language model names them, else for words.
        llm: The language model, where one is asked.
        embedder: The embedder that scores by embedding (``featurehub.embedding.open_embedder``).
        labels: How labels are made.
    """

    explainer: ExplainerName = ExplainerName.OFFLINE
    scorer: ScorerName | None = None
    llm: LlmConfig | None = None
    embedder: str = DEFAULT
    labels: LabelConfig = LabelConfig()

    @property
    def scored_by(self) -> ScorerName:
        """The scorer."""
        return self.scorer or (ScorerName.DETECTION if self.explainer is ExplainerName.LLM else ScorerName.WORDS)

    @property
    def asks(self) -> bool:
        """Whether a language model is asked."""
        return self.explainer is ExplainerName.LLM or self.scored_by in (ScorerName.DETECTION, ScorerName.FUZZING)

    def checked(self) -> "NamingConfig":
        """The configuration itself.

        Raises:
            InvalidInput: A language model is asked, and none is named.
        """
        if self.asks and self.llm is None:
            raise InvalidInput(
                f"--explainer {self.explainer} with --scorer {self.scored_by} asks a language model; say which with "
                "--llm-url and --llm-model",
                param="llm_url",
            )
        return self


class Labeler(NamedTuple):
    """An explainer and a scorer, and the language model that they ask, if any."""

    explainer: Explainer
    scorer: LabelScorer
    llm: Llm | None

    @property
    def spent(self) -> str:
        """What the language model took, in words; nothing where none was asked."""
        if self.llm is None:
            return ""
        budget = self.llm.budget
        price = f", {budget.limits.price(budget.spent):.2f} of money" if budget.limits.price(budget.spent) else ""
        return f"{budget.spent.tokens:,} tokens{price}"


@asynccontextmanager
async def labeler_of(config: NamingConfig) -> AsyncIterator[Labeler]:
    """The explainer and the scorer of a configuration. The key of an endpoint is ``OPENAI_API_KEY``."""
    async with AsyncExitStack() as stack:
        llm = None
        if config.asks and config.llm is not None:
            llm = await stack.enter_async_context(Llm(config.llm, os.environ.get("OPENAI_API_KEY", "")))
        yield Labeler(explainer_of(config, llm), scorer_of(config, llm), llm)


def explainer_of(config: NamingConfig, llm: Llm | None) -> Explainer:
    match config.explainer, llm:
        case ExplainerName.OFFLINE, _:
            return NgramExplainer()
        case ExplainerName.PROJECTION, _:
            return ProjectionExplainer()
        case ExplainerName.LLM, Llm():
            return LlmExplainer(llm)
    raise AssertionError("a checked configuration has the language model that it asks")


def scorer_of(config: NamingConfig, llm: Llm | None) -> LabelScorer:
    match config.scored_by, llm:
        case ScorerName.WORDS, _:
            return WordDetection()
        case ScorerName.EMBEDDING, _:
            return EmbeddingScorer(open_embedder(config.embedder).embed)
        case ScorerName.DETECTION, Llm():
            return Detection(llm)
        case ScorerName.FUZZING, Llm():
            return Fuzzing(llm)
    raise AssertionError("a checked configuration has the language model that it asks")
