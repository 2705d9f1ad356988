"""What the loaded engine serves: which SAEs, on which function, and how strict it is about drift."""

from typing import Any

from pydantic import Field, ValidationError

from featurehub.artifacts.manifest import ModelIdentity
from featurehub.errors import InvalidConfig
from featurehub.features import OnStale
from featurehub.records import Scope
from featurehub.settings import FRONTEND, Frozen

__all__ = ["ServedModel"]


class ServedModel(Frozen):
    """What `featurehub serve` tells the frontend through the environment.

    Attributes:
        store: Path or URL of the feature database.
        saes: Ids of the loaded artifacts; a name that several of them know is ambiguous.
        model: The checkpoint that was loaded, as its files say.
        on_stale: What happens to a stale feature where a request says nothing.
        names: What a request's ``model`` says to mean the model itself; any other names an adapter.
        overrides: What runs otherwise than the checkpoint's files say, in words. With any, nothing is fresh.
    """

    store: str
    saes: tuple[str, ...] = Field(min_length=1)
    model: ModelIdentity
    on_stale: OnStale = OnStale.REFUSE
    names: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the function; what drift reports are found by."""
        return self.model.function

    def with_overrides(self, *found: str) -> "ServedModel":
        """The same with these too."""
        return self.model_copy(update={"overrides": tuple(dict.fromkeys((*self.overrides, *found)))})

    def running(self, name: str | None) -> "ServedModel":
        """What answers a request for the model of this name: an adapter makes another function of it."""
        if not name or name in self.names:
            return self
        return self.with_overrides(f"the adapter {name!r}")

    @property
    def scope(self) -> Scope:
        """What the names of a request are looked for in."""
        return Scope(saes=self.saes)

    @classmethod
    def of(cls, told: str | None) -> "ServedModel":
        """Raises InvalidConfig naming what is missing or wrong in what the environment says."""
        if not told:
            raise InvalidConfig(f"{FRONTEND} is not set: this server was not started by `featurehub serve MODEL`")
        try:
            return cls.model_validate_json(told)
        except ValidationError as error:
            first: Any = error.errors()[0]
            raise InvalidConfig(f"{FRONTEND}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
