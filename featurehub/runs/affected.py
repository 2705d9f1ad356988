"""Stored variants whose features changed when an SAE was refreshed."""

from collections.abc import Iterator

from featurehub.decisions import AffectedVariant
from featurehub.refreshes import Fate, RefreshedFeature, RefreshReport
from featurehub.store import Reader
from featurehub.variants import PinnedFeature, StoredVariant

__all__ = ["affected_variants", "now"]


def affected_variants(reader: Reader, report: RefreshReport) -> list[AffectedVariant]:
    """The variants that name features of the SAE before which were not kept, each with what became of these."""
    fates = {each.latent: each for each in report.features if each.fate is not Fate.KEPT}
    found: list[AffectedVariant] = []
    for variant in reader.variants.list():
        lost = {one.latent for one in pinned(variant) if one.artifact == report.parent} & fates.keys()
        if lost:
            words = tuple(f"{fates[latent].label!r} {now(fates[latent])}" for latent in sorted(lost))
            found.append(AffectedVariant(variant=str(variant.address), features=words))
    return found


def pinned(variant: StoredVariant) -> Iterator[PinnedFeature]:
    """The features of a variant, those of its groups among them."""
    yield from variant.pinned.values()
    for group in variant.groups.values():
        yield from group.members


def now(feature: RefreshedFeature) -> str:
    """What the name of a feature means now that was not kept."""
    if feature.moved:
        return f"means {feature.successor_label or feature.successor!r} (F1 {feature.f1_successor or 0.0:.2f})"
    close = f"; close: {feature.successor_label!r}" if feature.successor_label else ""
    return f"is retired{close}"
