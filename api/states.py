"""How far features and SAEs have come from the loaded model.

On the very weights that an SAE was trained on it is fresh by construction; on others the latest drift report decides,
and without one everything is unchecked. Where no model is loaded nothing can be said: unchecked.
"""

from collections.abc import Iterable

from api.served import Served
from featurehub.features import Feature, State
from featurehub.store import Reader

__all__ = ["artifact_states", "states_of", "with_states"]


def artifact_states(reader: Reader, artifacts: Iterable[str], served: Served | None) -> dict[str, State]:
    """Of SAEs (by id) as a whole."""
    asked = list(artifacts)
    if served is None:
        return dict.fromkeys(asked, State.UNCHECKED)
    home = {each for each in asked if at_home(reader, each, served)}
    reports = reader.report_heads([each for each in asked if each not in home], served.fingerprint)
    found = {each: State.UNCHECKED if report is None else report.state for each, report in reports.items()}
    return {each: State.FRESH if each in home else found[each] for each in asked}


def states_of(reader: Reader, features: Iterable[Feature], served: Served) -> dict[str, tuple[State, str | None]]:
    """Of features, by id: the state, and the id of the drift report that says so, where there is one."""
    listed = list(features)
    home = {owner for owner in {each.artifact for each in listed} if at_home(reader, owner, served)}
    away = [each for each in listed if each.artifact not in home]
    judged = reader.states_of(away, served.fingerprint) if away else {}
    return {each.id: judged.get(each.id, (State.FRESH, None)) for each in listed}


def with_states(reader: Reader, features: Iterable[Feature], served: Served | None) -> tuple[Feature, ...]:
    """The same features, each with its state."""
    listed = tuple(features)
    if served is None:
        return listed
    states = states_of(reader, listed, served)
    return tuple(each.model_copy(update={"state": states[each.id][0]}) for each in listed)


def at_home(reader: Reader, artifact: str, served: Served) -> bool:
    """Whether the loaded weights are those that the SAE was trained on."""
    return reader.artifact(artifact).manifest.model.whole == served.fingerprint
