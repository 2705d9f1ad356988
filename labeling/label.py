"""Labels the live latents of an SAE from documents with their activations.

1. The documents are split first: those that the explainer is shown, and those that its labels are scored on, have none
   in common.
2. A live latent fires somewhere. One that fires in too few passages of either half stays unlabelled, with that reason.
3. The explainer proposes a label from the evidence on the first half.
4. The scorer tells, on the second half, how well the label detects the latent's firing. A label that does so no better
   than chance is none: the latent is unclear, and the reason says what was tried.
5. Of latents that share a head, the one whose label scores best keeps it plain; the others get a distinguishing one.
   ``rename`` does that again by another merit, once more is known about the features (how well they steer).
6. More failures than the budget allows end the run: labels of an SAE that mostly cannot be labelled mislead. An unclear
   latent is no failure; it was looked at.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field
from scipy.sparse import csc_matrix

from featurehub.errors import BudgetExceeded
from featurehub.records import Labeled, Outcome, Provenance, Unlabeled
from featurehub.settings import Frozen
from labeling.corpus import Corpus, pool, split
from labeling.cutting import cut
from labeling.evidence import Evidence, gather
from labeling.explainer import Explainer, Explanation, NgramExplainer
from labeling.heads import unique_heads
from labeling.logit_lens import Projection
from labeling.proposal import Proposal
from labeling.scoring import Scorer, WordScorer, detection

__all__ = ["LabelConfig", "LatentLabel", "label_latents", "rename"]

CERTAIN = 2.0


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


class ScoredExplanation(NamedTuple):
    """An explanation with its detection scores.

    Attributes:
        explanation: What the explainer came to.
        scores: As ``labeling.scoring.detection`` gives them; empty where there is no proposal.
    """

    explanation: Explanation
    scores: dict[str, float]


def label_latents(
    corpus: Corpus,
    config: LabelConfig | None = None,
    *,
    live: Sequence[int] | None = None,
    projection: Projection | None = None,
    explainer: Explainer | None = None,
    scorer: Scorer | None = None,
    tokens: Corpus | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LatentLabel]:
    """Labels every live latent. The same corpus and configuration give the same labels.

    Args:
        corpus: Documents with their activations.
        config: How to label; by default ``LabelConfig()``.
        live: The latents to label; by default those that fire anywhere in the corpus.
        projection: What each latent writes, as further evidence for the explainer.
        explainer: Proposes labels; by default ``NgramExplainer()``.
        scorer: Scores texts for a label; by default ``WordScorer()``.
        tokens: The same documents with the activations on single tokens, where those of ``corpus`` are others.
        progress: Called with the number of latents done and the number of live latents.

    Returns:
        A label or a reason for every live latent, by index.

    Raises:
        InvalidInput: The documents, rows and offsets of the corpus do not fit together.
        BudgetExceeded: More latents stay without a label than ``max_unlabeled`` allows.
    """
    config, explainer, scorer = config or LabelConfig(), explainer or NgramExplainer(), scorer or WordScorer()
    shown, held_out = split(corpus.checked(), config.score_share, config.seed)
    live = corpus.live if live is None else live
    examiner = Examiner(held_out, scorer, config.min_passages)
    single = None if tokens is None else split(tokens.checked(), config.score_share, config.seed)[0]
    evidences = gather(shown, live, projection, config.longest, config.min_ngram, config.candidates, single)
    found: dict[int, ScoredExplanation] = {}
    for latent, scored in examined(evidences, explainer, examiner, config):
        found[latent] = scored
        progress(len(found), len(live))
    check_budget(found, config.max_unlabeled)
    return concluded(found, explainer, config.author)


class Examiner:
    """Scores proposals on the passages of held-out documents."""

    def __init__(self, held_out: Corpus, scorer: Scorer, min_passages: int) -> None:
        self.scorer, self.min_passages = scorer, min_passages
        pieces = cut(held_out)
        self.texts = pieces.texts
        self.peaks = csc_matrix(pool(held_out.matrix, pieces.passage_of, len(pieces.texts)))

    def examine(self, evidence: Evidence, explanation: Explanation) -> ScoredExplanation:
        """The explanation with its scores on held-out passages; Unlabeled where the latent fires in too few of them."""
        if isinstance(explanation.outcome, Unlabeled):
            return ScoredExplanation(explanation, {})
        fires = self.peaks[:, [evidence.latent]].toarray().ravel() >= evidence.level
        if fires.sum() < self.min_passages:
            outcome = too_few(int(fires.sum()), self.min_passages, "held-out")
            return ScoredExplanation(explanation._replace(outcome=outcome), {})
        label = explanation.outcome.label
        scores = detection(self.scorer.scores(label, self.texts), fires)
        return ScoredExplanation(explanation if tells(scores) else unclear(explanation, label, scores), scores)


def tells(scores: Mapping[str, float]) -> bool:
    """Whether a label detects the firing better than chance, by ``CERTAIN`` standard errors of the AUROC of chance."""
    firing, others = scores["n_firing"], scores["n"] - scores["n_firing"]
    error = math.sqrt((scores["n"] + 1) / (12 * firing * others)) if firing and others else math.inf
    return scores["auroc"] - scores["chance"] > CERTAIN * error or not others


def unclear(explanation: Explanation, label: str, scores: Mapping[str, float]) -> Explanation:
    reason = (
        f"unclear: of {scores['n']:.0f} held-out passages it fires in {scores['n_firing']:.0f}, which its best words, "
        f"“{label}”, tell no better than chance (AUROC {scores['auroc']:.2f})"
    )
    return explanation._replace(outcome=Unlabeled(reason=reason))


def examined(
    evidences: Iterable[Evidence], explainer: Explainer, examiner: Examiner, config: LabelConfig
) -> Iterator[tuple[int, ScoredExplanation]]:
    """Steps 2 to 4."""
    for evidence in evidences:
        if evidence.passages < config.min_passages:
            outcome = too_few(evidence.passages, config.min_passages, "explained")
            yield evidence.latent, ScoredExplanation(Explanation(outcome, "", ""), {})
        else:
            yield evidence.latent, examiner.examine(evidence, explainer.explain(evidence))


def too_few(passages: int, needed: int, half: str) -> Unlabeled:
    return Unlabeled(reason=f"fires in {passages} of the {half} passages; at least {needed} are needed")


def check_budget(found: Mapping[int, ScoredExplanation], max_unlabeled: float) -> None:
    """Step 6. Raises BudgetExceeded."""
    outcomes = [each.explanation.outcome for each in found.values() if not each.scores]
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Unlabeled)]
    if len(reasons) > max_unlabeled * len(found):
        raise BudgetExceeded(
            f"{len(reasons)} of {len(found)} live latents stay without a label, more than the share of {max_unlabeled} "
            f"that is allowed; the first: {reasons[0]}. Give more documents, or raise max_unlabeled."
        )


def concluded(found: Mapping[int, ScoredExplanation], explainer: Explainer, author: str) -> list[LatentLabel]:
    """Step 5, and the rows as the store takes them."""
    labels: list[LatentLabel] = []
    for latent, (explanation, scores) in sorted(found.items()):
        provenance = Provenance(
            author=author,
            method=explainer.method,
            model=explainer.model,
            prompt=explanation.prompt,
            answer=explanation.answer,
        )
        outcome: Outcome
        if isinstance(explanation.outcome, Proposal):
            score = max(0.0, scores["agreement"])
            outcome = Labeled(label=explanation.outcome.label, score=score, scores=scores)
        else:
            outcome = explanation.outcome
        labels.append(LatentLabel(latent, outcome, provenance))
    return rename(
        labels, {each.latent: each.outcome.score or 0.0 for each in labels if isinstance(each.outcome, Labeled)}
    )


def rename(labels: Sequence[LatentLabel], merits: Mapping[int, float]) -> list[LatentLabel]:
    """The same labels with unique heads.

    Args:
        labels: The labels of one SAE.
        merits: By latent; of latents that share a name, the one with the most merit has it plain.
    """
    proposals = {each.latent: Proposal.read(each.outcome.label) for each in labels if isinstance(each.outcome, Labeled)}
    unique = unique_heads(proposals, merits)
    return [
        each._replace(outcome=each.outcome.model_copy(update={"label": unique[each.latent].label}))
        if isinstance(each.outcome, Labeled)
        else each
        for each in labels
    ]
