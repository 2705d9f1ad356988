"""How far features and SAEs have come from what the server runs.

1. On the very function that an SAE was trained on it is fresh by construction (``ModelIdentity.differences``).
2. On another the latest drift report on that function decides; without one everything is unchecked.
3. Where the server runs otherwise than the checkpoint's files say, or an adapter answers, nothing is fresh: what would
   be is unchecked.
4. Where no model is loaded nothing can be said: unchecked.
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
        return vouched(State.FRESH, served)
    report = reader.latest_report(artifact, served.fingerprint)
    return vouched(State.UNCHECKED if report is None else report.state, served)


def feature_state(reader: Reader, feature: Feature, served: Served) -> tuple[State, str | None]:
    """And the id of the drift report that says so, where there is one."""
    if at_home(reader, feature.artifact, served):
        return vouched(State.FRESH, served), None
    state, report = reader.verdict(feature.id, served.fingerprint)
    return vouched(state, served), report


def with_states(reader: Reader, features: Iterable[Feature], served: Served | None) -> tuple[Feature, ...]:
    """The same features, each with its state."""
    listed = list(features)
    if served is None:
        return tuple(listed)
    home = {owner for owner in {each.artifact for each in listed} if at_home(reader, owner, served)}
    known = reader.with_states(listed, served.fingerprint)
    states = [State.FRESH if each.artifact in home else each.state for each in known]
    return tuple(
        each.model_copy(update={"state": vouched(state, served)}) for each, state in zip(listed, states, strict=True)
    )


def vouched(state: State, served: Served) -> State:
    """What a verdict on the checkpoint is worth for what runs: rule 3."""
    return State.UNCHECKED if state is State.FRESH and served.overrides else state


def at_home(reader: Reader, artifact: str, served: Served) -> bool:
    """Whether the checkpoint is the function that the SAE was trained on."""
    return reader.artifact(artifact).manifest.model.same_function(served.model)
