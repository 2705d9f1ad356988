"""Labels the live latents of an SAE from documents with their activations.

1. The documents are split before anything is drawn from them: those that the explainer is shown, and those that its
   labels are scored on, have none in common.
2. A live latent fires somewhere. One that fires in too few passages of either half stays unlabelled, with that reason.
3. The explainer proposes a label from the evidence on the first half.
4. The scorer tells, on the second half, how well the label tells where the latent fires. A label that does so no better
   than chance is none: the latent is unclear, and the reason says what was tried.
5. Of latents that share a head, the one whose label scores best keeps it plain; the others get a distinguishing one.
   ``rename`` does that again by another merit, once more is known about the features (how well they steer).
6. More failures than the budget allows end the run: labels of an SAE that mostly cannot be labelled mislead. An unclear
   latent is no failure; it was looked at.

``label_latents`` does all of it at once. ``label_each`` gives each label as it is found (steps 1 to 4), for explainers
that take hours and runs that may be stopped.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import NamedTuple

from pydantic import Field

from featurehub.records import Label, Labeled, Outcome, Provenance, Unlabeled
from featurehub.settings import Frozen
from labeling.contexts import Contexts
from labeling.corpus import Corpus, split
from labeling.evidence import Evidence, gather, outline
from labeling.examiner import Examiner, HeldOut, LabelScorer, Neighbors, ScoredExplanation, too_few
from labeling.explainer import Explainer, Explanation, OutOfBudget
from labeling.explainers.offline import NgramExplainer
from labeling.failures import check_budget
from labeling.heads import unique_heads
from labeling.logit_lens import Projection
from labeling.scorers.words import WordDetection

__all__ = ["LabelConfig", "LabelSource", "LatentLabel", "label_each", "label_latents", "rename", "row_of"]


class LabelConfig(Frozen):
    """How latents are labelled.

    Attributes:
        score_share: Share of the documents that labels are scored on, in (0, 1).
        seed: Seed of the split.
        min_passages: Passages in which a latent must fire, in either half.
        min_ngram: Documents in which an n-gram must occur.
        longest: Words of the longest n-gram.
        candidates: N-grams that the explainer is shown for each latent.
        max_unlabeled: Largest share of live latents that may fail to be looked at, in [0, 1].
        author: The author that a label's provenance names.
    """

    score_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    seed: int = 0
    min_passages: int = Field(default=3, ge=1)
    min_ngram: int = Field(default=5, ge=1)
    longest: int = Field(default=3, ge=1)
    candidates: int = Field(default=40, ge=1)
    max_unlabeled: float = Field(default=0.5, ge=0.0, le=1.0)
    author: str = "featurehub"


class LatentLabel(NamedTuple):
    """The label of one latent, or the reason why it has none.

    Attributes:
        latent: Index in the SAE.
        outcome: Labeled, or Unlabeled with the reason.
        provenance: How the outcome was found.
    """

    latent: int
    outcome: Outcome
    provenance: Provenance


class LabelSource(NamedTuple):
    """What labels are made from.

    Attributes:
        corpus: Documents with their activations.
        live: The latents to label; None for those that fire anywhere in the corpus.
        projection: What each latent writes, as further evidence for the explainer.
        tokens: The same documents with the activations on single tokens, where those of ``corpus`` are others.
        neighbors: By latent, those with similar decoder rows; near misses are drawn from where they fire.
    """

    corpus: Corpus
    live: Sequence[int] | None = None
    projection: Projection | None = None
    tokens: Corpus | None = None
    neighbors: Neighbors = MappingProxyType({})

    @property
    def latents(self) -> Sequence[int]:
        """The latents to label."""
        return self.corpus.live if self.live is None else self.live


def label_latents(
    corpus: Corpus,
    config: LabelConfig | None = None,
    *,
    live: Sequence[int] | None = None,
    projection: Projection | None = None,
    explainer: Explainer | None = None,
    scorer: LabelScorer | None = None,
    tokens: Corpus | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LatentLabel]:
    """Labels every live latent. The same corpus and configuration give the same labels, as far as the explainer does.

    Args:
        corpus: Documents with their activations.
        config: How to label; by default ``LabelConfig()``.
        live: The latents to label; by default those that fire anywhere in the corpus.
        projection: What each latent writes, as further evidence for the explainer.
        explainer: Proposes labels; by default ``NgramExplainer()``.
        scorer: Scores labels; by default ``WordDetection()``.
        tokens: The same documents with the activations on single tokens, where those of ``corpus`` are others.
        progress: Called with the number of latents done and the number of live latents.

    Returns:
        A label or a reason for every live latent, by index; nothing for those that an explainer's own budget left over.

    Raises:
        InvalidInput: The documents, rows and offsets of the corpus do not fit together.
        BudgetExceeded: More latents stay without a label than ``max_unlabeled`` allows.
    """
    config, explainer = config or LabelConfig(), explainer or NgramExplainer()
    source = LabelSource(corpus, live, projection, tokens)
    found: dict[int, ScoredExplanation] = {}

    async def collect() -> None:
        async with aclosing(label_each(source, config, explainer, scorer)) as each:
            async for latent, scored in each:
                found[latent] = scored
                progress(len(found), len(source.latents))

    asyncio.run(collect())
    check_budget(found, config.max_unlabeled)
    return concluded(found, explainer, config.author)


async def label_each(
    source: LabelSource,
    config: LabelConfig,
    explainer: Explainer,
    scorer: LabelScorer | None = None,
    known: Callable[[int, str], bool] = lambda latent, prompt: False,
) -> AsyncGenerator[tuple[int, ScoredExplanation], None]:
    """Steps 1 to 4, each latent as soon as it is done. Ends early where explainer or scorer may ask no more.

    Args:
        source: What to label, and from what.
        config: How to label.
        explainer: Proposes labels.
        scorer: Scores labels; by default ``WordDetection()``.
        known: Whether a latent was explained before from this prompt; it is left out then.

    Yields:
        Latents with what was found, in no particular order.

    Raises:
        InvalidInput: The documents, rows and offsets of the corpus do not fit together.
    """
    shown, held_out = split(source.corpus.checked(), config.score_share, config.seed)
    examiner = Examiner(
        HeldOut(held_out, source.neighbors, config.seed), scorer or WordDetection(), config.min_passages
    )
    evidences = evidences_of(source, shown, explainer, config)
    waiting = (each for each in evidences if not known(each.latent, explainer.prompt(each)))
    async with aclosing(examined(waiting, explainer, examiner, config)) as each:
        async for latent, scored in each:
            yield latent, scored


def evidences_of(source: LabelSource, shown: Corpus, explainer: Explainer, config: LabelConfig) -> Iterator[Evidence]:
    """What the explainer wants to read on each latent, from the documents that it may see."""
    wants = explainer.wants
    if wants.ngrams:
        single = source.tokens and split(source.tokens.checked(), config.score_share, config.seed)[0]
        sizes = config.longest, config.min_ngram, config.candidates
        evidences = gather(shown, source.latents, source.projection, *sizes, single)
    else:
        evidences = outline(shown, source.latents, source.projection)
    contexts = Contexts(shown, config.seed) if wants.contexts else None
    for each in evidences:
        yield each._replace(contexts=contexts.firing(each.latent, wants.contexts)) if contexts else each


async def examined(
    evidences: Iterable[Evidence], explainer: Explainer, examiner: Examiner, config: LabelConfig
) -> AsyncGenerator[tuple[int, ScoredExplanation], None]:
    """Steps 2 to 4, for as many latents at once as the explainer takes."""
    running: set[asyncio.Task[tuple[int, ScoredExplanation] | None]] = set()
    waiting, spent = iter(evidences), False
    try:
        while True:
            while not spent and len(running) < explainer.at_once and (evidence := next(waiting, None)) is not None:
                running.add(asyncio.create_task(looked_at(evidence, explainer, examiner, config)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (found := task.result()) is None:
                    spent = True
                else:
                    yield found
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def looked_at(
    evidence: Evidence, explainer: Explainer, examiner: Examiner, config: LabelConfig
) -> tuple[int, ScoredExplanation] | None:
    """A latent and what was found; None where explainer or scorer may ask no more."""
    if evidence.passages < config.min_passages:
        reason: Unlabeled | None = too_few(evidence.passages, config.min_passages, "explained")
    else:
        reason = examiner.untestable(evidence)
    if reason is not None:
        return evidence.latent, ScoredExplanation(Explanation(reason, "", ""), {})
    try:
        return evidence.latent, await examiner.examine(evidence, await explainer.explain(evidence))
    except OutOfBudget:
        return None


def concluded(found: Mapping[int, ScoredExplanation], explainer: Explainer, author: str) -> list[LatentLabel]:
    """Step 5, and the rows as the store takes them."""
    labels = [row_of(latent, scored, explainer, author) for latent, scored in sorted(found.items())]
    return rename(
        labels, {each.latent: each.outcome.score or 0.0 for each in labels if isinstance(each.outcome, Labeled)}
    )


def row_of(latent: int, scored: ScoredExplanation, explainer: Explainer, author: str) -> LatentLabel:
    """What was found of a latent as the store takes it."""
    found, prompt, answer = scored.explanation
    provenance = Provenance(author=author, method=explainer.method, model=explainer.model, prompt=prompt, answer=answer)
    outcome: Outcome
    if isinstance(found, Label):
        outcome = Labeled(label=found, score=max(0.0, scored.scores["agreement"]), scores=scored.scores)
    else:
        outcome = found
    return LatentLabel(latent, outcome, provenance)


def rename(labels: Sequence[LatentLabel], merits: Mapping[int, float]) -> list[LatentLabel]:
    """The same labels with unique heads.

    Args:
        labels: The labels of one SAE.
        merits: By latent; of latents that share a name, the one with the most merit has it plain.
    """
    named = {each.latent: each.outcome.label for each in labels if isinstance(each.outcome, Labeled)}
    unique = unique_heads(named, merits)
    return [
        each._replace(outcome=each.outcome.model_copy(update={"label": unique[each.latent]}))
        if isinstance(each.outcome, Labeled)
        else each
        for each in labels
    ]
