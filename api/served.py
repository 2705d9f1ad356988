"""What the loaded engine serves: which SAEs, on which weights, and how strict it is about drift."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from featurehub.errors import InvalidConfig
from featurehub.features import OnStale
from featurehub.records import Scope
from featurehub.settings import Frozen

__all__ = ["Served"]


class Served(Frozen):
    """The frontend's part of ``additional_config["featurehub"]``; the engine's keys are left out.

    store:       path or URL of the feature database
    saes:        ids of the loaded artifacts; a name that several of them know is ambiguous
    fingerprint: hash over all weights of the loaded model
    reads:       hash over its weights up to the hook point
    on_stale:    what happens to a stale feature where a request says nothing
    """

    model_config = ConfigDict(extra="ignore")

    store: str
    saes: tuple[str, ...] = Field(min_length=1)
    fingerprint: str
    reads: str = ""
    on_stale: OnStale = OnStale.REFUSE

    @property
    def scope(self) -> Scope:
        """What the names of a request are looked for in."""
        return Scope(saes=self.saes)

    @classmethod
    def of(cls, additional_config: object) -> "Served":
        """Raises InvalidConfig naming the key that is missing or wrong."""
        config = additional_config.get("featurehub") if isinstance(additional_config, Mapping) else None
        if not isinstance(config, Mapping):
            raise InvalidConfig("vLLM was started without featurehub's configuration; use `featurehub serve MODEL`")
        flat: dict[str, Any] = {**config, **config.get("served", {})}
        try:
            return cls.model_validate(flat)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidConfig(f"additional_config.featurehub.{first['loc'][0]}: {first['msg']}") from None
