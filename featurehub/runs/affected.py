"""Stored variants whose features changed when an SAE was refreshed."""

from featurehub.decisions import AffectedVariant
from featurehub.refreshes import Fate, RefreshReport
from featurehub.store import Reader
from featurehub.variants import parts_of

__all__ = ["affected_variants"]


def affected_variants(reader: Reader, report: RefreshReport) -> list[AffectedVariant]:
    """The variants that name features of the SAE before which were not kept, each with what became of these."""
    fates = {each.latent: each for each in report.features if each.fate is not Fate.KEPT}
    found: list[AffectedVariant] = []
    for variant in reader.variants.list():
        named = parts_of(variant).values()
        lost = {one.latent for one in named if one.artifact == report.parent} & fates.keys()
        if lost:
            words = tuple(f"{fates[latent].label!r} {fates[latent].now}" for latent in sorted(lost))
            found.append(AffectedVariant(variant=variant.address, features=words))
    return found
