"""What an answer warns of, and the stale features for which there is none.

A feature that is not fresh is warned of, and so are one that is nudged without ever having been calibrated, one whose
name meant another latent before the SAE was refreshed, and an SAE that reads activations and is not fresh. A feature in
a state that the server refuses, by default a stale one, is refused, unless the request asks for a warning
(``ServedModel.refuses``).
"""

from collections.abc import Iterable, Mapping

from api.model import ServedModel
from api.names import ResolvedFeature
from api.states import with_states
from featurehub.answers import Notice, ServedSae
from featurehub.errors import StaleFeature
from featurehub.features import Edit, Mode, OnStale, State
from featurehub.names import fold
from featurehub.settings import Limits
from featurehub.store import Reader

__all__ = ["judge", "judge_edits", "judge_readings"]

FEATURES_TRIED = 20


def judge(
    features: Mapping[str, ResolvedFeature], on_stale: OnStale | None, reader: Reader, served: ServedModel
) -> tuple[Notice, ...]:
    """Warnings about all features that are not fresh, and about names that moved. Raises StaleFeature."""
    for found in features.values():
        if served.refuses(found.feature.state, on_stale):
            raise refusal(found, reader, served)
    flagged = (found for found in features.values() if found.feature.state is not State.FRESH)
    renamed = (found for name, found in features.items() if fold(name) in map(fold, found.feature.moved))
    return tuple(notice(found, served) for found in flagged) + tuple(map(moved, renamed))


def moved(found: ResolvedFeature) -> Notice:
    feature = found.feature
    message = (
        f"{found.called} was another latent before the SAE was refreshed for a retrained model; what means that now, "
        f"by the judge of its label, is {feature.label or feature.id!r} (latent {feature.latent}): call it so"
    )
    return Notice(code="feature_moved", message=message, feature=feature.id)


def notice(found: ResolvedFeature, served: ServedModel) -> Notice:
    feature, report = found.feature, f" (drift report {found.report})" if found.report else ""
    message = f"{found.called} {saying(feature.state, served)}{report}"
    return Notice(code=f"feature_{feature.state}", message=message, feature=feature.id)


def judge_edits(edits: Mapping[str, Edit], features: Mapping[str, ResolvedFeature]) -> tuple[Notice, ...]:
    """Warnings about the nudges whose weight is one of a strength that was never tried."""
    nudges = [(edit, features[name]) for name, edit in edits.items() if edit.mode is Mode.NUDGE and edit.weight]
    return tuple(never_calibrated(edit, found) for edit, found in nudges if found.feature.never_steered)


def never_calibrated(edit: Edit, found: ResolvedFeature) -> Notice:
    message = (
        f"{found.called} was never calibrated: weight {edit.weight or 0.0:g} is a share of the model's usual dose, "
        "with which nobody has steered it yet; `featurehub calibrate SAE MODEL --feature NAME` finds its own"
    )
    return Notice(code="feature_uncalibrated", message=message, feature=found.feature.id)


def judge_readings(saes: Iterable[ServedSae], served: ServedModel) -> tuple[Notice, ...]:
    """Warnings about those of the SAEs that read activations which are not fresh."""
    return tuple(
        Notice(
            code=f"sae_{each.state}",
            message=f"the SAE {each.name!r}, which reads the activations, {saying(each.state, served)}",
            sae=each.id,
        )
        for each in saes
        if each.state is not State.FRESH
    )


def saying(state: State, served: ServedModel) -> str:
    """What a message says about a feature or an SAE that is not fresh."""
    match state:
        case State.SUSPECT:
            return "may no longer mean what it says on the loaded model"
        case State.STALE:
            return "no longer holds on the loaded model"
        case _:
            return unchecked(served)


def unchecked(served: ServedModel) -> str:
    """Why it is not known whether a feature holds."""
    if served.replaced:
        return "was not checked on the weights that replaced the model's own while the server ran"
    if served.overrides:
        return f"was not checked with {', '.join(served.overrides)}"
    return "was not checked on the loaded model; run `featurehub drift check`"


def refusal(found: ResolvedFeature, reader: Reader, served: ServedModel) -> StaleFeature:
    label = found.feature.label[: Limits().name_chars]
    page = reader.search(label, reader.scope(found.feature.artifact), FEATURES_TRIED)
    fresh = (each.label for each in with_states(reader, page.features, served) if each.state is State.FRESH)
    closest = next(fresh, None)
    instead = f" The closest fresh feature is {closest!r}." if closest else ""
    report = f" (drift report {found.report})" if found.report else ""
    return StaleFeature(
        f"{found.called} {saying(found.feature.state, served)}{report}.{instead} "
        'Send "on_stale": "warn" to use it all the same; a request that steers has it within "steer".',
        param=found.param,
        report=found.report,
        closest=closest,
    )
