"""How far features and SAEs have come from the loaded model.

On the very weights that an SAE was trained on it is fresh by construction; on others the latest drift report decides,
and without one everything is unchecked. Where no model is loaded nothing can be said: unchecked.
"""

from collections.abc import Iterable

from api.served import Served
from featurehub.features import Feature, State
from featurehub.store import Reader

__all__ = ["artifact_state", "feature_state", "with_states"]


def artifact_state(reader: Reader, artifact: str, served: Served | None) -> State:
    """Of the SAE as a whole."""
    if served is None:
        return State.UNCHECKED
    if at_home(reader, artifact, served):
        return State.FRESH
    report = reader.latest_report(artifact, served.fingerprint)
    return State.UNCHECKED if report is None else report.state


def feature_state(reader: Reader, feature: Feature, served: Served) -> tuple[State, str | None]:
    """And the id of the drift report that says so, where there is one."""
    if at_home(reader, feature.artifact, served):
        return State.FRESH, None
    return reader.verdict(feature.id, served.fingerprint)


def with_states(reader: Reader, features: Iterable[Feature], served: Served | None) -> tuple[Feature, ...]:
    """The same features, each with its state."""
    listed = list(features)
    if served is None:
        return tuple(listed)
    home = {owner for owner in {each.artifact for each in listed} if at_home(reader, owner, served)}
    return tuple(
        each.model_copy(update={"state": State.FRESH}) if each.artifact in home else each
        for each in reader.with_states(listed, served.fingerprint)
    )


def at_home(reader: Reader, artifact: str, served: Served) -> bool:
    """Whether the loaded weights are those that the SAE was trained on."""
    return reader.artifact(artifact).manifest.model.whole == served.fingerprint
