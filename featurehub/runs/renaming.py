"""The names of a refreshed SAE's features: those that hold stay, the other latents are named anew.

1. A label that holds stays at its latent, whole. It is scored again, unless a language model scored it: that is not
   asked. A latent that does not fire in the held-out documents has no feature, so its label does not stay.
2. All other live latents are labelled as in a build. A name that the judge has just refused is none: it is given only
   where another feature of that name was kept, or to the latent that means it now. Where the latter finds no label, it
   has the one that it means.
3. New labels are told from those that stay, and from those that were given up: what asks for one of these is never
   answered with another feature in silence.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.engine.offline import Engine
from featurehub.names import fold
from featurehub.records import Calibration, Label, Labeled, Provenance, Unlabeled
from featurehub.refreshes import Fate, RefreshedFeature
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.progress import Progress
from featurehub.runs.register import LENIENT, Description, candidates_of, labeled
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.survey import survey_features
from labeling.cluster_names import cluster_latents
from labeling.explainers import KnownLabels, NgramExplainer
from labeling.heads import TakenHeads
from labeling.label import LatentLabel, label_latents
from saes.drift.keeping import JudgedLabel

__all__ = ["Renamed", "rename_features"]

METHOD = "refresh"
"""The method that the provenance of a label names which was verified on a retrained model."""


class Renamed(NamedTuple):
    """The features of a refreshed SAE, and what became of its parent's.

    Attributes:
        described: The features, as a build registers them.
        fates: One for each labelled feature of the parent, by latent.
    """

    described: Description
    fates: tuple[RefreshedFeature, ...]


def rename_features(
    model: Path,
    engine: Engine,
    sae: EvaluatedSae,
    parent: Artifact,
    known: RegisteredFeatures,
    found: Mapping[int, JudgedLabel],
    progress: Progress,
) -> Renamed:
    """Names the features of a refreshed SAE.

    Args:
        model: Folder of the retrained model.
        engine: Its tokenizer gives the text of each token.
        sae: The refreshed SAE, with its activations on held-out documents.
        parent: The SAE before.
        known: The parent's features.
        found: What verification found of each of their labels, by latent.
        progress: Receives progress reports.
    """
    survey = survey_features(model, engine, sae, progress)
    corpus, live, projection, tokens, neighbors = survey.source
    alive = {row.latent for row in survey.rows}
    before = {each.latent: each for each in known.labels if isinstance(each.outcome, Labeled)}
    kept = {latent: label_of(before[latent]) for latent, each in found.items() if each.holds and latent in alive}
    explainer = KnownLabels(kept, NgramExplainer())
    with progress.work("labelling", sae.dictionary.d_sae, "latents") as work:
        labels = label_latents(
            corpus, LENIENT, live=live, projection=projection, tokens=tokens, explainer=explainer, progress=work.at
        )
    stay = [staying(before[each.latent], each, found[each.latent], parent) for each in labels if each.latent in kept]
    new = [each for each in labels if each.latent not in kept]
    given = {latent: label_of(each) for latent, each in before.items()}
    new = told_apart(inherited(without_refused(new, given, kept, found), given, kept, found), given, kept)
    every = sorted([*stay, *new], key=lambda each: each.latent)
    candidates = candidates_of(sae.dictionary, every)
    clusters = cluster_latents(sae.dictionary.W_dec.numpy(), neighbors, labeled(every))
    described = Description(survey.rows, every, candidates, survey.median_norm, survey.words, clusters)
    names = {each.latent: each.outcome.label for each in every if isinstance(each.outcome, Labeled)}
    fates = (
        fate_of(found[at], given[at], at in kept, names, alive, known.calibrations.get(at)) for at in sorted(found)
    )
    return Renamed(described, tuple(fates))


def label_of(given: LatentLabel) -> Label:
    assert isinstance(given.outcome, Labeled)
    return given.outcome.label


def staying(before: LatentLabel, again: LatentLabel, found: JudgedLabel, parent: Artifact) -> LatentLabel:
    """Step 1."""
    assert isinstance(before.outcome, Labeled)
    outcome = before.outcome
    if isinstance(again.outcome, Labeled) and not before.provenance.model:
        outcome = again.outcome.model_copy(update={"label": outcome.label})
    m = found.measures
    provenance = Provenance(
        author="featurehub",
        method=METHOD,
        prompt=f"F1 on answers {m.f1_world_old:.3f} before and {m.f1_world_new:.3f} now, on old canaries "
        f"{m.f1_text_old:.3f} and {m.f1_text_new:.3f}; correlation {m.r:.3f}; SAE {parent.manifest.id}",
        answer=found.reason,
    )
    return LatentLabel(before.latent, outcome, provenance)


def without_refused(
    new: Sequence[LatentLabel],
    given: Mapping[int, Label],
    kept: Mapping[int, Label],
    found: Mapping[int, JudgedLabel],
) -> list[LatentLabel]:
    """Step 2: the same labels, without those whose name the judge has refused."""
    held = {fold(label.name) for label in kept.values()}
    refused: defaultdict[str, set[int]] = defaultdict(set)
    for latent, each in found.items():
        if latent not in kept:
            heir = each.successor
            refused[fold(given[latent].name)] |= {heir.latent} if heir and heir.means_it else set()

    def allowed(each: LatentLabel) -> bool:
        name = fold(label_of(each).name)
        if name not in refused or each.latent in refused[name]:
            return True
        own = given.get(each.latent)
        return name in held and (own is None or fold(own.name) != name)

    return [
        each if not isinstance(each.outcome, Labeled) or allowed(each) else each._replace(outcome=refusal(each))
        for each in new
    ]


def inherited(
    new: Sequence[LatentLabel],
    given: Mapping[int, Label],
    kept: Mapping[int, Label],
    found: Mapping[int, JudgedLabel],
) -> list[LatentLabel]:
    """Step 2: the same labels, and those that unlabelled latents mean by the judge's word."""
    heirs = {
        each.successor.latent: (given[latent], each.successor.f1)
        for latent, each in found.items()
        if latent not in kept and each.successor is not None and each.successor.means_it
    }

    def named(each: LatentLabel) -> LatentLabel:
        if each.latent not in heirs or isinstance(each.outcome, Labeled):
            return each
        label, score = heirs[each.latent]
        provenance = Provenance(author="featurehub", method=METHOD, answer=label.text)
        return LatentLabel(each.latent, Labeled(label=label, score=score, scores={"f1": score}), provenance)

    return [named(each) for each in new]


def refusal(refused: LatentLabel) -> Unlabeled:
    text = label_of(refused).text
    return Unlabeled(
        reason=f"its best words, “{text}”, name what the retrained model's answers do not show where it fires"
    )


def told_apart(new: Sequence[LatentLabel], given: Mapping[int, Label], kept: Mapping[int, Label]) -> list[LatentLabel]:
    """Step 3: the same labels with heads that no feature has, nor had before; the best scores choose first."""
    # Heads that were given up are taken, by latents that do not exist.
    taken = {latent if latent in kept else -1 - latent: label.head for latent, label in given.items()}
    heads, named = TakenHeads(taken), {}
    order = sorted(new, key=lambda each: -(each.outcome.score or 0.0) if isinstance(each.outcome, Labeled) else 1.0)
    for each in order:
        if isinstance(each.outcome, Labeled):
            label = heads.give(each.latent, each.outcome.label.model_copy(update={"qualifier": ""}))
            each = each._replace(outcome=each.outcome.model_copy(update={"label": label}))
        named[each.latent] = each
    return [named[each.latent] for each in new]


def fate_of(
    found: JudgedLabel,
    label: Label,
    stays: bool,
    names: Mapping[int, Label],
    alive: set[int],
    calibration: Calibration | None,
) -> RefreshedFeature:
    """What became of one of the parent's features.

    Args:
        found: What verification found.
        label: Its label.
        stays: Whether it stays.
        names: The labels of the refreshed SAE, by latent.
        alive: The latents that have features.
        calibration: Its calibration in the parent.
    """
    heir = found.successor if found.successor and found.successor.latent in alive else None
    fate = Fate.KEPT if stays else Fate.RELABELLED if found.latent in names else Fate.RETIRED
    return RefreshedFeature(
        latent=found.latent,
        label=label.text,
        fate=fate,
        reason="its latent fires nowhere in the held-out documents" if found.holds and not stays else found.reason,
        new_label=names[found.latent].text if found.latent in names else "",
        successor=None if stays or heir is None else heir.latent,
        moved=not stays and heir is not None and heir.means_it,
        successor_label=names[heir.latent].text if heir is not None and not stays and heir.latent in names else "",
        f1_before=found.measures.f1_world_old,
        f1_now=found.measures.f1_world_new,
        f1_successor=None if stays or heir is None else heir.f1,
        answers=found.measures.positives_world,
        level=found.level,
        strength_before=calibration.strength if calibration else None,
        steerability_before=calibration.steerability if calibration else None,
    )
