"""Which features a search may show."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from featurehub.features import Feature, State
from featurehub.records import SearchFilter
from featurehub.store.directory import Directory

__all__ = ["ALLOWED", "IN_SCOPE", "Judge", "bounds_of", "in_layers"]

Judge = Callable[[Sequence[Feature]], Mapping[str, State]]
"""How features stand on the loaded model, by id."""
ALLOWED = """
    f.density BETWEEN :min_density AND :max_density
    AND coalesce(f.label_score, :unscored) >= :min_score AND coalesce(f.steerability, :untested) > :steers_above
"""
"""SQL for a condition on a feature ``f``; ``bounds_of`` has its parameters."""
# A feature is looked up only where something is asked of it, and each alone: PostgreSQL would look up all for EXISTS.
IN_SCOPE = f"""
    {{table}}.artifact_id IN :saes AND (:unbounded OR {{table}}.feature_id = (
        SELECT f.id FROM features AS f WHERE f.id = {{table}}.feature_id AND {ALLOWED}
    ))
"""
"""SQL for the same of the feature that a row is about, in a ``table`` that repeats the feature's SAE."""
UNSCORED, UNTESTED = -1.0, -2.0
"""Below every score and every steerability."""


def bounds_of(only: SearchFilter) -> dict[str, float]:
    """The parameters of ``ALLOWED`` and ``IN_SCOPE``."""
    return {
        "unbounded": not only.bounds_features,
        "min_density": only.min_density,
        "max_density": only.max_density,
        "min_score": UNSCORED if only.min_score is None else only.min_score,
        "steers_above": 0.0 if only.steerable else UNTESTED - 1.0,
        "unscored": UNSCORED,
        "untested": UNTESTED,
    }


def in_layers(saes: Iterable[str], directory: Directory, only: SearchFilter) -> tuple[str, ...]:
    """Those of the SAEs (by id) that lie in the layers asked for."""
    return tuple(
        each for each in saes if not only.layers or directory.artifacts[each].manifest.hook.layer in only.layers
    )
