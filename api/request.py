"""featurehub's keys of a request body: taken out and checked."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from featurehub.conditions import FeatureAbort, FeatureCondition
from featurehub.edits import TOP_K_MAX
from featurehub.errors import InvalidInput
from featurehub.features import Edit, SteerOptions
from featurehub.parsing import parse_edits
from featurehub.settings import Frozen, Limits

__all__ = ["KEYS", "XARGS_KEY", "Name", "ReturnActivations", "SteeringRequest", "UsedVariant", "refuse_reserved"]

KEYS = ("features", "steer", "return_activations", "abort_when")
"""featurehub's keys of a request body."""
XARGS_KEY = "featurehub"
"""The key of ``vllm_xargs`` in which a steering travels to the worker."""

T = TypeVar("T", bound=Frozen)
Name = Annotated[str, Field(min_length=1, max_length=Limits().name_chars)]


class ReturnActivations(Frozen):
    """The ``return_activations`` object of a request; a list stands for its ``features``.

    Attributes:
        top_k: How many of each token's strongest features to return of every SAE, in [1, 64]; 0 where it is not given.
        sae: The only SAE whose strongest features are returned, by its id, name or alias; None for all that are served.
        features: Features, of any SAEs, whose activations are returned of every token, active or not; at most 64.
    """

    top_k: int = Field(default=0, ge=1, le=TOP_K_MAX, strict=True)
    sae: Name | None = None
    features: tuple[Name, ...] = Field(default=(), max_length=TOP_K_MAX)

    @model_validator(mode="after")
    def asks(self) -> Self:
        """Refuses an object that asks for nothing, or names an SAE for nothing."""
        if not (self.top_k or self.features):
            raise ValueError('give "top_k", or "features", or both')
        if self.sae is not None and not self.top_k:
            raise ValueError('"sae" says where "top_k" looks; give "top_k" too')
        return self


class UsedVariant(Frozen):
    """The stored variant beneath a request, which asks for its features by their ids.

    Attributes:
        name: Its name.
        version: The version that is used.
        names: What it calls its features, by their ids; without those that the request names itself.
        groups: Name of the group through which it edits a feature, by the feature's id.
    """

    name: str
    version: int
    names: dict[str, str]
    groups: dict[str, str]


class SteeringRequest(Frozen):
    """What a client asked of featurehub, checked but not yet resolved to features.

    Attributes:
        edits: The edits by the name of their feature, in the request's order.
        steer: The ``steer`` object: which positions to steer, and what to do about a stale feature.
        reads: The ``return_activations`` object; None where no activations are returned.
        aborts: The entries of ``abort_when``, in the request's order.
        variant: The variant whose edits and aborts are among these; None where the request names none.
    """

    edits: dict[str, Edit] = Field(default_factory=dict)
    steer: SteerOptions = SteerOptions()
    reads: ReturnActivations | None = None
    aborts: tuple[FeatureAbort, ...] = ()
    variant: UsedVariant | None = None

    @classmethod
    def take(cls, body: dict[str, Any], limits: Limits) -> "SteeringRequest":
        """Removes featurehub's keys from a request body and checks them.

        Args:
            body: The keys of the request that OpenAI's API does not have; ``KEYS`` are removed from it.
            limits: What one request may ask for.

        Raises:
            InvalidInput: A value is malformed or beyond the limits; ``param`` names the key.
        """
        features, steer, activations, aborts = (body.pop(key, None) for key in KEYS)
        return cls(
            edits=parse_edits({} if features is None else features, limits),
            steer=parse("steer", SteerOptions, {} if steer is None else steer),
            reads=None if activations is None else parse_reads(activations),
            aborts=parse_aborts([] if aborts is None else aborts, limits),
        )

    @property
    def is_nothing(self) -> bool:
        """Whether it asks for nothing of ours."""
        return not (self.edits or self.reads or self.aborts)

    def called(self, name: str) -> str:
        """What messages call a feature that it asks for under this name."""
        if self.variant is None or name not in self.variant.names:
            return repr(name)
        return f"{self.variant.names[name]!r} of the variant {self.variant.name!r} (version {self.variant.version})"

    @property
    def conditions(self) -> Iterator[tuple[str, FeatureCondition]]:
        """Every condition of edits and aborts, with the key of the body that it came in."""
        edits = [(f"features.{name}.when", edit.when) for name, edit in self.edits.items()]
        aborts = [(f"abort_when.{i}", abort.when) for i, abort in enumerate(self.aborts)]
        for key, when in (*edits, *aborts):
            for condition in when or ():
                yield key, condition

    @property
    def keys(self) -> dict[str, str]:
        """By feature name, the first key of the body in which the name stands."""
        read = dict.fromkeys(self.reads.features if self.reads else (), "return_activations")
        waiting = {condition.feature: key for key, condition in reversed([*self.conditions])}
        stored = dict.fromkeys(self.variant.names if self.variant else (), "model")
        named = read | waiting | {name: f"features.{name}" for name in self.edits}
        return {name: stored.get(name, key) for name, key in named.items()}


def refuse_reserved(body: Mapping[str, Any]) -> None:
    """Refuses a body that carries steering in ``vllm_xargs``, past our checks.

    Raises:
        InvalidInput: ``vllm_xargs`` has featurehub's key.
    """
    carried = body.get("vllm_xargs")
    if isinstance(carried, Mapping) and XARGS_KEY in carried:
        raise InvalidInput('steering goes into "features", not into vllm_xargs', param=f"vllm_xargs.{XARGS_KEY}")


def parse_reads(value: object) -> ReturnActivations:
    """The ``return_activations`` object; a list stands for its ``features``. Raises InvalidInput."""
    return parse("return_activations", ReturnActivations, {"features": value} if isinstance(value, list) else value)


def parse_aborts(value: object, limits: Limits) -> tuple[FeatureAbort, ...]:
    """The entries of ``abort_when``. Raises InvalidInput."""
    if not isinstance(value, list):
        raise InvalidInput('"abort_when" must be a list of conditions', param="abort_when")
    if len(value) > limits.aborts:
        raise InvalidInput(f"{len(value)} aborts in one request; send at most {limits.aborts}", param="abort_when")
    return tuple(parse(f"abort_when.{i}", FeatureAbort, each) for i, each in enumerate(value))


def parse(key: str, kind: type[T], value: object) -> T:
    if not isinstance(value, Mapping):
        raise InvalidInput(f'"{key}" must be an object', param=key)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join([key, *map(str, first["loc"])])
        raise InvalidInput(f"{param}: {first['msg']}", param=param) from None
