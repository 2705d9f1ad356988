"""What the loaded engine serves: which SAEs, on which model, and how strict it is about drift."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import InvalidConfig
from featurehub.features import OnStale, State
from featurehub.records import Scope
from featurehub.settings import FRONTEND, Frozen

__all__ = ["HookCheck", "InputDriftOptions", "ServedModel"]


class HookCheck(Frozen):
    """What the check at boot found at a hook point: the worst of its figures.

    Attributes:
        error: The largest relative error, between what the op read or did there and what plain computing gives.
        bound: The largest that would have passed.
    """

    error: float
    bound: float


class InputDriftOptions(Frozen):
    """How a server watches its traffic for input drift.

    Attributes:
        share: The share of time that it may take, above 0 and below 1.
        folder: Where what is normal, what was found and the log of events are kept.
        requests: How many requests tell what is normal.
    """

    share: float = Field(default=0.01, gt=0, lt=1)
    folder: str
    requests: int = Field(default=2048, ge=64)


class ServedModel(Frozen):
    """What ``featurehub serve`` tells the server's frontend through the environment.

    Attributes:
        store: Path or URL of the feature database.
        saes: Ids of the loaded artifacts. A name that several of them know is ambiguous.
        model: Identity of the loaded checkpoint, as its files say.
        on_stale: What happens to a stale feature where the request does not say.
        on_suspect: What happens to a suspect one.
        on_unchecked: What happens to an unchecked one.
        names: Values of a request's ``model`` that mean the model itself; any other value names an adapter.
        overhead_budget: The share of each step, above 0 and below 1, that steering may take; None without a budget.
        input_drift: How the traffic is watched; None where it is not.
        overrides: What runs differently from what the checkpoint's files say, in words. With any, nothing is fresh.
        checks: By hook point, what the engine found when it booted; filled by the server.
        points: The hook points of the loaded artifacts.
        booted: Identity of the weights on the device when the server started; "" where it is not known.
        loaded: That of those which are there now.
        sums: Checksums of those that were there at the start, by name.
        known_as: Where they were replaced, the fingerprint of the function that they were checked as; "" without any.
    """

    store: str
    saes: tuple[str, ...] = Field(min_length=1)
    model: ModelIdentity
    on_stale: OnStale = OnStale.REFUSE
    on_suspect: OnStale = OnStale.WARN
    on_unchecked: OnStale = OnStale.WARN
    names: tuple[str, ...] = ()
    overhead_budget: float | None = Field(default=None, gt=0, lt=1)
    input_drift: InputDriftOptions | None = None
    overrides: tuple[str, ...] = ()
    checks: Mapping[str, HookCheck] = {}
    points: tuple[HookPoint, ...] = ()
    booted: str = ""
    loaded: str = ""
    sums: Mapping[str, str] = {}
    known_as: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of the function that the model computes, by which drift reports are found; "" where it is not known."""
        return self.known_as if self.replaced else self.model.function

    @property
    def replaced(self) -> bool:
        """Whether other weights lie on the device than when the server started."""
        return self.loaded != self.booted

    def salt(self, identity: str) -> str:
        """What tells KV blocks computed with the weights of this identity from others."""
        return f"{self.model.function}:{identity}"

    def refuses(self, state: State, asked: OnStale | None) -> bool:
        """Whether a feature in this state is refused.

        Args:
            state: The state.
            asked: The request's own ``on_stale``. "warn" asks for whatever is not fresh, with a warning; "refuse" is
                about stale features, and leaves the others to the server.
        """
        if asked is OnStale.WARN or state is State.FRESH:
            return False
        own = {State.STALE: asked or self.on_stale, State.SUSPECT: self.on_suspect, State.UNCHECKED: self.on_unchecked}
        return own[state] is OnStale.REFUSE

    def with_overrides(self, *found: str) -> "ServedModel":
        """The same model with further overrides."""
        return self.model_copy(update={"overrides": tuple(dict.fromkeys((*self.overrides, *found)))})

    def running(self, name: str | None) -> "ServedModel":
        """What answers a request that names this model. An adapter counts as an override, since it is another function.

        Args:
            name: The ``model`` of the request; None or "" means the model itself.
        """
        if not name or name in self.names:
            return self
        return self.with_overrides(f"the adapter {name!r}")

    @property
    def scope(self) -> Scope:
        """The SAEs in which the names of a request are looked up."""
        return Scope(saes=self.saes)

    @classmethod
    def of(cls, told: str | None) -> "ServedModel":
        """Reads what ``featurehub serve`` wrote.

        Args:
            told: The value of the environment variable ``FEATUREHUB_FRONTEND``; None where it is not set.

        Raises:
            InvalidConfig: The variable is not set, or names what is missing or wrong in its value.
        """
        if not told:
            raise InvalidConfig(f"{FRONTEND} is not set: this server was not started by `featurehub serve MODEL`")
        try:
            return cls.model_validate_json(told)
        except ValidationError as error:
            first: Any = error.errors()[0]
            raise InvalidConfig(f"{FRONTEND}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
