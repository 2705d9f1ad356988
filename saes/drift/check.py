"""Runs a drift check: its questions, cheapest first.

1. *Is it the same function?* Weights, precision, configuration, tokenizer and chat template equal: fresh by
   construction, and nothing is run (``by_construction``).
2. *Do token ids mean the same?* With another tokenizer they do not, and everything is stale.
3. *Does it read the same?* One prefill pass of the new model over the canaries: reconstruction for the SAE; per feature
   the correlation of its activations and the fall of its label's F1. Then the canaries' prompts are answered by the new
   model and the labels are checked on those answers, since a label can go wrong while no activation on old text moves.
   Where the tokenizer or the chat template changed but the ids did not, a feature is suspect at best, since the
   canaries have the old form. Where a budget does not cover all documents, those of the most used features come first
   (``saes.drift.selection``), and the features of others stay unchecked.
4. *Does it still steer?* Not asked here; ``steers`` stays unchecked.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import ModelIdentity, Part
from featurehub.dictionary import Dictionary
from featurehub.edits import Steering
from featurehub.engine.offline import Generation, Sampling
from featurehub.features import State
from featurehub.records import Label
from featurehub.settings import Frozen
from featurehub.token_ids import special_ids
from featurehub.verdicts import DriftReport
from saes.activations import FeatureActivations, encode_documents
from saes.budget import Budget
from saes.documents import Document
from saes.drift.measures import Judge, measure
from saes.drift.progress import Work, unheard
from saes.drift.reporting import FORM, fresh, in_form, not_checked, report, stale
from saes.drift.rules import Thresholds, judge_artifact, judge_feature, reconstructs
from saes.drift.selection import Allowance, Selection, select
from saes.drift.tokens import disagreement
from saes.observed import Observations, observe
from saes.reader import StreamReader

__all__ = ["ANSWERS", "CANARIES", "CheckConfig", "answer_prompts", "by_construction", "check"]

CANARIES = "canaries.safetensors"
"""An artifact's file of canaries."""
ANSWERS = "answers.safetensors"
"""An artifact's file of its model's answers to the canaries' prompts."""
PACED = 8
"""Documents on which the pace is measured, where a budget is a time."""
JUDGING = 0.15
"""The share of a time that is left for judging."""


class Model(StreamReader, Protocol):
    """The new model, behind the engine: it reads the stream and generates answers.

    Attributes:
        tokenizer: A tokenizer of transformers.
    """

    @property
    def tokenizer(self) -> Any: ...

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]: ...


class CheckConfig(Frozen):
    """How a drift check is run.

    Attributes:
        thresholds: Effect sizes from which on a feature or an artifact is not fresh.
        sampling: How the new model's answers are drawn.
        documents_per_read: How many documents are read or answered in one call; it bounds memory.
        budget: How long the check may take, or how many tokens it may read and generate.
    """

    thresholds: Thresholds = Thresholds()
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=96, seed=17)
    documents_per_read: int = 256
    budget: Budget = Budget()


def by_construction(artifact: Artifact, identity: ModelIdentity, labels: Mapping[int, Label]) -> DriftReport | None:
    """Question 1: returns a report that all is fresh if the model is the one that the SAE was trained on.

    Args:
        artifact: The SAE.
        identity: Identity of the model.
        labels: Labels by latent.

    Returns:
        The report, or None if the model computes another function.
    """
    if not artifact.manifest.model.same_function(identity):
        return None
    verdicts = [fresh(latent, label) for latent, label in labels.items()]
    return report(artifact, identity, State.FRESH, f"the same {', '.join(Part)}", {}, verdicts)


def check(
    artifact: Artifact,
    identity: ModelIdentity,
    model: Model,
    labels: Mapping[int, Label],
    judge: Judge,
    config: CheckConfig,
    progress: Work = unheard,
    order: Sequence[int] = (),
) -> DriftReport:
    """Questions 2 and 3: checks whether ``artifact`` and its features still hold on ``model``.

    Args:
        artifact: The SAE, with its canaries and the answers of the model that it was made on.
        identity: Identity of ``model``.
        model: The new model.
        labels: Labels by latent; only labelled latents are judged.
        judge: The judge that judged the labels first.
        config: How to check.
        progress: Announces each part of the work.
        order: Latents, the most used first; those that are left out come last.

    Raises:
        CorruptArtifact: If the artifact's weights, canaries or answers cannot be read.
    """
    if another := disagreement(artifact, identity, model.tokenizer):
        return report(artifact, identity, State.STALE, another, {}, [stale(*each, another) for each in labels.items()])
    dictionary = Dictionary.load(artifact.weights)
    whole = Old(Observations.load(artifact.folder / CANARIES), Observations.load(artifact.folder / ANSWERS))
    old, covered = within_budget(whole, [*dict.fromkeys([*order, *labels])], model, dictionary, config)
    left_out = [not_checked(*each) for each in labels.items() if old is None or not covered[each[0]]]
    if old is None:
        return report(artifact, identity, State.UNCHECKED, "the budget is too small for any document", {}, left_out)
    metrics, new_texts = read_canaries(artifact, dictionary, model, old.texts, config, progress)
    prompts = [old.answers.prompt(i) for i in old.answers.documents]
    new_answers = observe(answer_prompts(model, dictionary, prompts, config, progress))
    judged = {latent: label for latent, label in labels.items() if covered[latent]}
    measured = measure(*old, new_texts, new_answers, judged, judge, model.tokenizer, progress)
    another_form = [part for part in artifact.manifest.model.differences(identity) if part in FORM]
    verdicts = [in_form(judge_feature(m, config.thresholds), another_form) for m in measured] + left_out
    state, reason = judge_artifact(metrics, verdicts, config.thresholds)
    if not reconstructs(metrics, config.thresholds):
        verdicts = [v.model_copy(update={"reads": State.STALE, "reason": f"the whole SAE: {reason}"}) for v in verdicts]
    metrics |= {"prompts": float(len(prompts)), "answer_tokens": float(len(new_answers.token_ids))}
    return report(artifact, identity, state, reason, metrics, sorted(verdicts, key=lambda each: each.latent))


class Old(NamedTuple):
    """What the old model did: on the canaries, and in its answers to their prompts."""

    texts: Observations
    answers: Observations


def within_budget(
    whole: Old, order: Sequence[int], model: Model, dictionary: Dictionary, config: CheckConfig
) -> tuple[Old | None, np.ndarray]:
    """The documents that the budget allows, None if these are none, and [d_sae] the latents that they suffice for."""
    allowed = allowance(whole, model, dictionary, config)
    reading, answering = (np.diff(each.offsets) * cost for each, cost in zip(whole, allowed[1:], strict=True))
    needed = 2 * config.thresholds.positives_min
    # Half for each; what one of them does not need is the other's.
    share = max(allowed.total / 2, allowed.total - answering.sum())
    texts = select(whole.texts.answer_max() > 0, reading, order, needed, share)
    answers = select(whole.answers.answer_max() > 0, answering, order, needed, allowed.total - texts.cost)
    covered = texts.covered & answers.covered
    if not (texts.documents and answers.documents):
        return None, covered
    return Old(*(chosen(each, own) for each, own in zip(whole, (texts, answers), strict=True))), covered


def chosen(observed: Observations, selection: Selection) -> Observations:
    return observed if len(selection.documents) == len(observed.documents) else observed.only(selection.documents)


def allowance(whole: Old, model: Model, dictionary: Dictionary, config: CheckConfig) -> Allowance:
    """What the check may cost. For a time, the pace of this model on this machine is measured on a few documents."""
    if config.budget.tokens is not None:
        return Allowance(config.budget.tokens)
    if config.budget.seconds is None:
        return Allowance(math.inf)
    texts, answers = (each.only(each.documents[:PACED]) for each in whole)
    began = time.monotonic()
    encode_documents(model, dictionary, documents_of(texts), special_ids(model.tokenizer))
    read = time.monotonic()
    answer_prompts(model, dictionary, [answers.prompt(i) for i in answers.documents], config)
    done = time.monotonic()
    pace = (read - began) / len(texts.token_ids), (done - read) / len(answers.token_ids)
    return Allowance(max(0.0, (config.budget.seconds - (done - began)) * (1 - JUDGING)), *pace)


def documents_of(observed: Observations) -> list[Document]:
    return [Document(observed.document(i), int(observed.prompt_lens[i])) for i in observed.documents]


def read_canaries(
    artifact: Artifact, dictionary: Dictionary, model: Model, old: Observations, config: CheckConfig, progress: Work
) -> tuple[dict[str, float], FeatureActivations]:
    """Question 3, first half: returns the SAE's quality on the canaries, and every feature's activations."""
    documents, special = documents_of(old), special_ids(model.tokenizer)
    with progress("reading the canaries", len(documents), "documents") as advance:
        activations = encode_documents(model, dictionary, documents, special, config.documents_per_read, advance)
    l0_old = old.matrix.nnz / max(1, activations.tokens)
    metrics = {
        "explained_variance_old": artifact.manifest.metrics["canary_explained_variance"],
        "explained_variance_new": activations.quality.explained_variance,
        "l0_old": l0_old,
        "l0_new": activations.quality.l0,
        "canary_tokens": float(activations.tokens),
    }
    return metrics, activations


def answer_prompts(
    model: Model,
    dictionary: Dictionary,
    prompts: Sequence[list[int]],
    config: CheckConfig,
    progress: Work = unheard,
) -> FeatureActivations:
    """Lets the model answer prompts, and encodes its answers.

    Args:
        model: The model, which is not steered.
        dictionary: The SAE.
        prompts: Token ids of each prompt.
        config: How answers are drawn and read.
        progress: Announces each part of the work.

    Returns:
        The activations on prompts and answers, one document each.
    """
    documents: list[Document] = []
    with progress("answering the canaries' prompts", len(prompts), "prompts") as advance:
        for start in range(0, len(prompts), config.documents_per_read):
            group = prompts[start : start + config.documents_per_read]
            seeded = config.sampling.model_copy(update={"seed": config.sampling.seed + start})
            answers = model.generate(group, [None] * len(group), seeded)
            documents += (
                Document(prompt + answer.token_ids, len(prompt)) for prompt, answer in zip(group, answers, strict=True)
            )
            advance(len(group))
    special, at_once = special_ids(model.tokenizer), config.documents_per_read
    with progress("reading the answers", len(documents), "answers") as advance:
        return encode_documents(model, dictionary, documents, special, at_once, advance)
