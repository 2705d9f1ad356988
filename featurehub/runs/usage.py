"""Which features are used most, as far as the database knows: what a check looks at first where its budget is small.

1. Features by how many of the variants and groups that everyone sees they are in;
2. then by how well they steer, as was measured or is expected;
3. then by how well their label predicts them.
"""

from collections import Counter

from featurehub.features import Feature
from featurehub.store import Reader, Scope

__all__ = ["most_used"]


def most_used(reader: Reader, artifact: str) -> list[int]:
    """The latents of an artifact's labelled features, the most used first.

    Args:
        reader: Reads the features, variants and groups.
        artifact: Id of the artifact.

    Raises:
        ArtifactNotFound: It is not registered.
    """
    pinned = (each for variant in reader.variants.list() for each in variant.pinned.values())
    members = (each for group in reader.groups.list(Scope(saes=(artifact,))) for each in group.members)
    uses = Counter(each.latent for some in (pinned, members) for each in some if each.artifact == artifact)

    def place(feature: Feature) -> tuple[float, ...]:
        steers = feature.steerability if feature.steerability is not None else feature.expected_steerability
        return -uses[feature.latent], -(steers or 0.0), -(feature.label_score or 0.0), feature.latent

    return [each.latent for each in sorted(reader.features(artifact), key=place) if each.label]
