"""`featurehub groups propose`: groups of an SAE's features over which one concept may have been split.

1. Clusters of decoder rows are found (``labeling.clusters``). Features without a label are left out: nobody could say
   what they would add. So are clusters of more features than a group may have.
2. A cluster gets the name that most of its labels share (their heads), of several the one with the best label score,
   and a number where another has it.
3. Every member gets the weight 1 / ‖Σ uᵢ‖, where uᵢ are the decoder rows divided by their lengths: a group that is set
   to w then moves the stream about as far as one feature that is set to w.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.features import Feature
from featurehub.groups import MEMBERS_MAX, FeatureGroup
from featurehub.names import base_of
from featurehub.store import open_store
from featurehub.store.naming import TakenSlugs
from labeling.clusters import Cluster, find_clusters

__all__ = ["COSINE", "METHOD", "ProposedGroup", "propose_groups", "save_groups"]

COSINE = 0.4
METHOD = "decoder rows"


class ProposedGroup(NamedTuple):
    """A group that nobody has saved yet.

    Attributes:
        name: What it would be called.
        features: Its features, by latent.
        weight: The weight of each.
        cosine: Mean cosine of two of their decoder rows.
        least: The smallest.
        agreement: Share of the features whose label has the group's name for a head, in (0, 1].
    """

    name: str
    features: tuple[Feature, ...]
    weight: float
    cosine: float
    least: float
    agreement: float


def propose_groups(artifact: Artifact, database: str, cosine: float = COSINE) -> list[ProposedGroup]:
    """Groups of an SAE's features that may be one concept, the most alike first.

    Args:
        artifact: The SAE.
        database: The feature database in which it is registered.
        cosine: The smallest cosine of the decoder rows of two features of a group, in (0, 1).

    Raises:
        ArtifactNotFound: The SAE is not registered.
        InvalidInput: The cosine is out of bounds, or so small that nearly everything hangs together.
    """
    with closing(open_store(database)) as store, store.read() as reader:
        features = [each for each in reader.features(artifact.manifest.id) if each.label and each.writes]
    rows = Dictionary.load(artifact.weights).nudges[[each.latent for each in features]].float().numpy()
    proposed: dict[str, ProposedGroup] = {}
    for cluster in find_clusters(rows, cosine):
        if len(cluster.latents) <= MEMBERS_MAX:
            group = _proposed([features[at] for at in cluster.latents], cluster, proposed.keys())
            proposed[group.name] = group
    return list(proposed.values())


def save_groups(proposed: Iterable[ProposedGroup], database: str) -> list[FeatureGroup]:
    """Saves proposed groups for everyone; a group of one of their names is replaced. Raises StoreError."""
    with closing(open_store(database)) as store, store.write() as writer:
        return [
            writer.put_group(
                each.name,
                {feature.id: each.weight for feature in each.features},
                description=f"{len(each.features)} features with a mean cosine of {each.cosine:.2f}",
                method=METHOD,
            )
            for each in proposed
        ]


def _proposed(features: Sequence[Feature], cluster: Cluster, taken: Iterable[str]) -> ProposedGroup:
    heads = [base_of(each.label) for each in features]
    counts = Counter(heads)
    scores = {head: each.label_score or 0.0 for head, each in zip(heads, features, strict=True)}
    name = max(counts, key=lambda head: (counts[head], scores[head], head))
    return ProposedGroup(
        name=TakenSlugs(taken).give(name),
        features=tuple(features),
        weight=round(min(1.0, 1.0 / cluster.length), 3),
        cosine=cluster.cosine,
        least=cluster.least,
        agreement=counts[name] / len(features),
    )
