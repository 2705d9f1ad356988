"""`featurehub groups propose`: groups of an SAE's features over which one concept may have been split.

1. Labelled features are sorted by the names of their labels: ``pirate`` of ``pirate (ahoy): matey``.
   Decoder rows alone say little: of the 20 most alike pairs of the planted model's SAE, 14 have two names.
2. Of those with one name, the clusters of decoder rows are found (``labeling.clusters``). Each is a group with that
   name, and a number where there are several. Clusters of more features than a group may have are left out.
3. Every member gets the weight 1 / ‖Σ uᵢ‖, where uᵢ are the decoder rows divided by their lengths: a group that is set
   to w then moves the stream about as far as one feature that is set to w.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.features import Feature
from featurehub.groups import MEMBERS_MAX, FeatureGroup
from featurehub.names import fold
from featurehub.records import Label
from featurehub.store import open_store
from featurehub.store.naming import TakenSlugs
from labeling.clusters import SplitConcept, find_clusters

__all__ = ["COSINE", "METHOD", "ProposedGroup", "propose_groups", "save_groups"]

COSINE = 0.2
METHOD = "decoder rows"


class ProposedGroup(NamedTuple):
    """A group that nobody has saved yet.

    Attributes:
        name: What it would be called.
        features: Its features, by latent.
        weight: The weight of each.
        cosine: Mean cosine of two of their decoder rows.
        least: The smallest.
    """

    name: str
    features: tuple[Feature, ...]
    weight: float
    cosine: float
    least: float


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
        features = [each for each in reader.features(artifact.manifest.id) if each.writes]
        labels = reader.labels(artifact.manifest.id)
    rows = Dictionary.load(artifact.weights).W_dec.float().numpy()
    proposed: list[ProposedGroup] = []
    for name, own in _by_name(features, labels).items():
        for cluster in find_clusters(rows[[each.latent for each in own]], cosine):
            if len(cluster.latents) <= MEMBERS_MAX:
                proposed.append(_proposed(name, [own[at] for at in cluster.latents], cluster))
    return _renamed(sorted(proposed, key=lambda each: -each.cosine))


def _renamed(proposed: Iterable[ProposedGroup]) -> list[ProposedGroup]:
    """The same groups, each with a name of its own."""
    names = TakenSlugs()
    return [each._replace(name=names.give(each.name)) for each in proposed]


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


def _by_name(features: Iterable[Feature], labels: Mapping[int, Label]) -> dict[str, list[Feature]]:
    """The features that have a label, by its name."""
    found: dict[str, list[Feature]] = {}
    for each in features:
        if each.latent in labels:
            found.setdefault(fold(labels[each.latent].name), []).append(each)
    return found


def _proposed(name: str, features: Sequence[Feature], cluster: SplitConcept) -> ProposedGroup:
    weight = round(min(1.0, 1.0 / cluster.length), 3)
    return ProposedGroup(name, tuple(features), weight, cluster.cosine, cluster.least)
