"""How far features and SAEs have come from what the server runs.

1. On the very function that an SAE was trained on it is fresh by construction (``ModelIdentity.differences``).
2. On another function the latest drift report on it decides; without a report everything is unchecked.
3. Where the server runs differently from what the checkpoint's files say, or where an adapter answers, nothing is
   fresh: what would be fresh is unchecked.
4. Where the weights were replaced while the server ran, only a drift report on the new ones decides (``api.weights``).
5. Where no model is loaded, everything is unchecked.
"""

from collections.abc import Callable, Iterable, Set

from api.model import ServedModel
from featurehub.answers import ServedSae
from featurehub.features import Feature, State
from featurehub.store import Reader

__all__ = ["Judge", "artifact_states", "judge_of", "served_saes", "states_of", "with_states"]

Judge = Callable[[Iterable[Feature]], dict[str, State]]
"""The states of features, by id."""


def served_saes(reader: Reader, served: ServedModel, among: Set[str] | None = None) -> tuple[ServedSae, ...]:
    """The SAEs that the server steers with, in its order, each with its state.

    Args:
        reader: Reads the registered SAEs and their drift reports.
        served: What the server runs.
        among: Ids of those that are wanted; None for all.

    Raises:
        ArtifactNotFound: One of them is not registered any more.
    """
    wanted = [each for each in served.saes if among is None or each in among]
    states = artifact_states(reader, wanted, served)
    found = [reader.artifact(each) for each in wanted]
    return tuple(
        ServedSae(id=each.id, name=each.name, hook=str(each.manifest.hook), state=states[each.id]) for each in found
    )


def artifact_states(reader: Reader, artifacts: Iterable[str], served: ServedModel | None) -> dict[str, State]:
    """The states of SAEs as a whole.

    Args:
        reader: Reads drift reports.
        artifacts: Ids of registered SAEs.
        served: What the server runs; None where no model is loaded.

    Returns:
        The state of each SAE by its id.

    Raises:
        ArtifactNotFound: An SAE is not registered.
    """
    asked = list(artifacts)
    if served is None:
        return dict.fromkeys(asked, State.UNCHECKED)
    home = {each for each in asked if at_home(reader, each, served)}
    reports = reader.report_heads([each for each in asked if each not in home], served.fingerprint)
    found = {each: State.UNCHECKED if report is None else report.state for each, report in reports.items()}
    return {each: vouched(State.FRESH if each in home else found[each], served) for each in asked}


def states_of(reader: Reader, features: Iterable[Feature], served: ServedModel) -> dict[str, tuple[State, str | None]]:
    """The states of features, and the drift reports that say so.

    Args:
        reader: Reads drift reports.
        features: The features.
        served: What the server runs.

    Returns:
        By feature id, the state, and the id of the report that decided it; None where no report did.

    Raises:
        ArtifactNotFound: The SAE of a feature is not registered.
    """
    listed = list(features)
    home = {owner for owner in {each.artifact for each in listed} if at_home(reader, owner, served)}
    away = [each for each in listed if each.artifact not in home]
    judged = reader.states_of(away, served.fingerprint) if away else {}
    states = {each.id: judged.get(each.id, (State.FRESH, None)) for each in listed}
    return {id: (vouched(state, served), report) for id, (state, report) in states.items()}


def judge_of(reader: Reader, served: ServedModel | None) -> Judge | None:
    """How features stand on what the server runs; None where no model is loaded."""
    if served is None:
        return None
    return lambda features: {id: state for id, (state, _) in states_of(reader, features, served).items()}


def with_states(reader: Reader, features: Iterable[Feature], served: ServedModel | None) -> tuple[Feature, ...]:
    """The same features in the same order, each with its state; unchanged where no model is loaded.

    Raises:
        ArtifactNotFound: The SAE of a feature is not registered.
    """
    listed = tuple(features)
    if served is None:
        return listed
    states = states_of(reader, listed, served)
    return tuple(each.model_copy(update={"state": states[each.id][0]}) for each in listed)


def vouched(state: State, served: ServedModel) -> State:
    """The state on what runs, given the state on the checkpoint (rule 3)."""
    return State.UNCHECKED if state is State.FRESH and served.overrides else state


def at_home(reader: Reader, artifact: str, served: ServedModel) -> bool:
    """Whether what runs is the function that the SAE was trained on."""
    return not served.replaced and reader.artifact(artifact).manifest.model.same_function(served.model)
