"""featurehub's keys of a request body: taken out and checked."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from featurehub.errors import InvalidInput
from featurehub.features import Edit, SteerOptions, parse_edits
from featurehub.settings import Frozen, Limits

__all__ = ["KEYS", "XARGS_KEY", "Asked", "refuse_reserved"]

KEYS = ("features", "steer", "return_activations")
# Keys of a later version. Ignoring one would leave a client without a guard that it believes in.
LATER = ("abort_when",)
XARGS_KEY = "featurehub"

T = TypeVar("T", bound=Frozen)


class ReturnActivations(Frozen):
    """top_k: how many of each token's strongest features to return, in [1, 64]"""

    top_k: int = Field(ge=1, le=64, strict=True)


class Asked(Frozen):
    """What a client asked of us. ``top_k`` 0 is no activations."""

    edits: dict[str, Edit]
    steer: SteerOptions
    top_k: int

    @classmethod
    def take(cls, body: dict[str, Any], limits: Limits) -> "Asked | None":
        """Removes our keys from ``body``; None where nothing is left to do. Raises InvalidInput."""
        features, steer, activations = (body.pop(key, None) for key in KEYS)
        asked = cls(
            edits=parse_edits({} if features is None else features, limits),
            steer=parse("steer", SteerOptions, {} if steer is None else steer),
            top_k=0 if activations is None else parse("return_activations", ReturnActivations, activations).top_k,
        )
        return asked if asked.edits or asked.top_k else None


def refuse_reserved(body: Mapping[str, Any]) -> None:
    """Raises InvalidInput for keys that would be ignored, or that would get past our checks."""
    for key in LATER:
        if body.get(key) is not None:
            raise InvalidInput(
                f"this version does not know {key!r}; it would be ignored, so nothing was run", param=key
            )
    carried = body.get("vllm_xargs")
    if isinstance(carried, Mapping) and XARGS_KEY in carried:
        raise InvalidInput('steering goes into "features", not into vllm_xargs', param=f"vllm_xargs.{XARGS_KEY}")


def parse(key: str, kind: type[T], value: object) -> T:
    if not isinstance(value, Mapping):
        raise InvalidInput(f'"{key}" must be an object', param=key)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join([key, *map(str, first["loc"])])
        raise InvalidInput(f"{param}: {first['msg']}", param=param) from None
