"""Whether the engine can do what a request's steering asks: checked by the frontend at admission, and by the worker."""

from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple, TypeVar

from msgspec import DecodeError
from msgspec.structs import replace

from featurehub.edits import LARGEST, Condition, LatentEdit, Read, Steering, When, is_sealed_text
from featurehub.engine.config import KEY, EngineConfig, SaeConfig
from featurehub.errors import InvalidEdit
from featurehub.seals import Maker

__all__ = ["Carried", "carried", "check", "prompt_len"]


T = TypeVar("T", LatentEdit, Read, Condition)


class Carried(NamedTuple):
    """The steering that a request carries.

    Attributes:
        steering: What it says, not checked against the engine yet.
        text: Its JSON.
    """

    steering: Steering
    text: str

    def is_sealed(self, maker: Maker) -> bool:
        """Whether the text has this maker's seal."""
        return is_sealed_text(self.text, maker)


def carried(extra_args: dict[str, Any] | None) -> Carried | None:
    """The steering in a request's ``extra_args``; None if the request carries none.

    Raises:
        InvalidEdit: What the request carries is not a steering.
    """
    text = (extra_args or {}).get(KEY)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidEdit(f"extra_args.{KEY} must be a steering as a JSON string, not {type(text).__name__}", param=KEY)
    try:
        return Carried(Steering.read(text), text)
    except DecodeError as error:
        raise InvalidEdit(f"extra_args.{KEY} is not a steering: {error}", param=KEY) from None


def check(steering: Steering, config: EngineConfig) -> Steering:
    """Checks a steering against what the engine holds.

    Returns:
        The steering with every empty SAE id replaced by that of the engine's first SAE.

    Raises:
        InvalidEdit: The steering asks for something that the engine cannot do; the message says what.
    """
    saes, used = config.saes, steering.saes()
    if not used <= saes.keys():
        return check(named(steering, used - saes.keys(), saes), config)
    if steering.within is not None and steering.within[0] >= steering.within[1]:
        raise InvalidEdit(f"edits within positions {steering.within[0]} to {steering.within[1]}: that is no position")
    if len(steering.edits) > config.max_edits:
        raise InvalidEdit(f"{len(steering.edits)} edits in one request; this engine takes at most {config.max_edits}")
    conditions = set(steering.conditions())
    if max(len(conditions), len(steering.aborts)) > config.max_conditions:
        raise InvalidEdit(f"{len(conditions)} conditions in one request; at most {config.max_conditions} are allowed")
    for each in (*steering.edits, *conditions):
        if each.latent >= saes[each.sae].d_sae:
            check_latents([each.latent], saes[each.sae])
        if not -LARGEST <= each.value <= LARGEST:
            raise InvalidEdit(f"latent {each.latent}: the value {each.value} is beyond ±{LARGEST:g}")
    for read in steering.reads:
        check_latents(read.latents, saes[read.sae])
        for start, stop in read.totals:
            if not 0 <= start < stop:
                raise InvalidEdit(
                    f"totals over positions {start} to {stop}: the first must be 0 or more, and before the last"
                )
    if conditions:
        check_order(steering.edits, config)
    if steering.capture:
        check_points(steering.capture, config)
    if (steering.capture or steering.reads) and not steering.report:
        raise InvalidEdit("what a request reads is kept under its report key; give it one")
    return steering


def named(steering: Steering, unknown: Set[str], saes: Mapping[str, SaeConfig]) -> Steering:
    """The steering with "" replaced by the id of the engine's first SAE, so that equal steerings are equal texts."""
    if unknown != {""} or not saes:
        missing = min(unknown) or "(the first)"
        raise InvalidEdit(f"this engine does not hold the SAE {missing}; it holds {', '.join(saes) or 'none'}")
    first = next(iter(saes))
    return replace(
        steering,
        edits=tuple(replace(filled(edit, first), when=edit.when and at(edit.when, first)) for edit in steering.edits),
        aborts=tuple(replace(abort, when=at(abort.when, first)) for abort in steering.aborts),
        reads=tuple(filled(read, first) for read in steering.reads),
    )


def at(when: When, sae: str) -> When:
    """A condition whose nameless SAE is this one."""
    return replace(when, conditions=tuple(filled(each, sae) for each in when.conditions))


def filled(each: T, sae: str) -> T:
    """An edit, read or condition whose nameless SAE is this one."""
    return each if each.sae else replace(each, sae=sae)


def check_latents(latents: Iterable[int], sae: SaeConfig) -> None:
    for latent in latents:
        if not 0 <= latent < sae.d_sae:
            raise InvalidEdit(f"latent {latent}: the SAE has latents 0 to {sae.d_sae - 1}")


def check_points(names: Iterable[str], config: EngineConfig) -> None:
    points = {str(hook.point) for hook in config.hooks}
    for name in set(names) - points:
        raise InvalidEdit(f"no hook point {name!r} to capture; this engine has {', '.join(sorted(points))}")


def check_order(edits: Iterable[LatentEdit], config: EngineConfig) -> None:
    """Raises InvalidEdit for a condition at a hook point that a token reaches only after the edit's."""
    order = {sae.id: hook.point for hook in config.hooks for sae in hook.saes}
    waiting = ((each.sae, condition) for each in edits if each.when for condition in each.when.conditions)
    for sae, condition in waiting:
        if order[condition.sae].order > order[sae].order:
            raise InvalidEdit(
                f"an edit at {order[sae]} cannot wait for a condition at {order[condition.sae]}, "
                "which a token reaches later"
            )


def prompt_len(request: Any) -> int:
    """Number of tokens in the prompt of a vLLM request; the prompt may be given as embeddings."""
    tokens = request.prompt_token_ids
    return len(tokens if tokens is not None else request.prompt_embeds)
