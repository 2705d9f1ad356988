"""What the loaded engine serves: which SAE, on which weights, and how strict it is about drift."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError

from featurehub.errors import InvalidConfig
from featurehub.features import OnStale
from featurehub.settings import Frozen

__all__ = ["Served"]


class Served(Frozen):
    """The frontend's part of ``additional_config["featurehub"]``; the engine's keys are left out.

    store:       path or URL of the feature database
    sae:         id of the loaded artifact
    fingerprint: hash over all weights of the loaded model
    reads:       hash over its weights up to the hook point
    on_stale:    what happens to a stale feature where a request says nothing
    """

    model_config = ConfigDict(extra="ignore")

    store: str
    sae: str
    fingerprint: str
    reads: str = ""
    on_stale: OnStale = OnStale.REFUSE

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
