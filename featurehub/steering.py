"""The edit equation, once and naively: the twin that every fast path is tested against.

For a token with residual stream x (float32 from here on) at a hook point, and a request's edits k = 1 … K there:

1. a_k  = act(W_enc[k] · (x − b_dec) + b_enc[k], θ_k)      only the K edited latents are encoded
2. Δ    = Σ_k (target_k(a_k) − a_k) · W_dec[k]              pin: target = value; mul: value · a_k; ablate: 0
3. Δ   += Σ_k value_k · W_dec[k]                            nudge
4. x'   = x + min(1, dose_max · ‖x‖ / ‖Δ‖) · Δ              dose guard

The reconstruction error is left alone, so an edit of weight 0 changes nothing. An edit with a condition is summed only
where the condition holds. Conditions read x as it reaches their hook point, before the edits there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from featurehub.conditions import Op, Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import Condition, LatentEdit, Steering, When
from featurehub.features import Mode

__all__ = ["EditResult", "Reference", "activation", "steer_token"]


class EditResult(NamedTuple):
    """x: the edited stream; dose: ‖x' − x‖ / ‖x‖; clipped: whether the guard scaled Δ down."""

    x: Float[Tensor, " d_model"]
    dose: float
    clipped: bool


def steer_token(
    x: Float[Tensor, " d_model"], dictionaries: Mapping[str, Dictionary], edits: Sequence[LatentEdit], dose_max: float
) -> EditResult:
    """Applies the edits to one token's stream ``x`` (any float dtype); computes in float32.

    dictionaries: the SAEs of one hook point by the name that the edits give them
    """
    x = x.float()
    delta = torch.zeros_like(x)
    for edit in edits:
        dictionary = dictionaries[edit.sae]
        delta += change(x, dictionary, edit) * dictionary.W_dec[edit.latent]
    size, norm = float(delta.norm()), float(x.norm())
    if size == 0.0:
        return EditResult(x, 0.0, False)
    scale = min(1.0, dose_max * norm / size)
    return EditResult(x + scale * delta, scale * size / norm if norm else 0.0, scale < 1.0)


def change(x: Float[Tensor, " d_model"], dictionary: Dictionary, edit: LatentEdit) -> float:
    """By how much the edit moves its latent's activation."""
    if edit.mode is Mode.NUDGE:
        return edit.value
    a = activation(x, dictionary, edit.latent)
    target = {Mode.PIN: edit.value, Mode.MUL: edit.value * a, Mode.ABLATE: 0.0}[edit.mode]
    return target - a


def activation(x: Float[Tensor, " d_model"], dictionary: Dictionary, latent: int) -> float:
    z = (x.float() - dictionary.b_dec) @ dictionary.W_enc[latent] + dictionary.b_enc[latent]
    return float(dictionary.magnitude(z, latent)) if z > dictionary.threshold[latent] else 0.0


class Reference:
    """One request's steering, token by token: call ``at`` for every position at every hook point, in their order.

    dictionaries: by hook point, then by the name that the steering gives the SAE
    """

    def __init__(
        self, steering: Steering, dictionaries: Mapping[str, Mapping[str, Dictionary]], prompt_len: int
    ) -> None:
        self.steering = steering
        self.dictionaries = dictionaries
        self.prompt_len = prompt_len
        self.fired: defaultdict[Condition, set[int]] = defaultdict(set)

    def at(self, point: str, position: int, x: Float[Tensor, " d_model"]) -> EditResult:
        """What the stream ``x`` of the token at ``position`` becomes at this hook point."""
        here = self.dictionaries[point]
        for condition in self.steering.conditions():
            if condition.sae in here and is_met(condition, activation(x, here[condition.sae], condition.latent)):
                self.fired[condition].add(position)
        edits = [e for e in self.steering.edits if e.sae in here and self.holds(e.when, position)]
        if not self.covers(self.steering.positions, position):
            edits = []
        return steer_token(x, here, edits, self.steering.dose_max)

    def covers(self, positions: Positions, position: int) -> bool:
        first, last = positions.bounds(self.prompt_len)
        return first <= position < last

    def holds(self, when: When | None, position: int) -> bool:
        if when is None:
            return True
        return (any if when.any else all)(self.is_true(condition, position) for condition in when.conditions)

    def is_true(self, condition: Condition, position: int) -> bool:
        fired = self.fired[condition]
        return any(each <= position for each in fired) if condition.so_far else position in fired

    def event(self, position: int) -> str | None:
        """The abort that this token causes, once it has passed every hook point."""
        for abort in self.steering.aborts:
            if self.covers(abort.positions, position) and self.holds(abort.when, position):
                return abort.event
        return None


def is_met(condition: Condition, a: float) -> bool:
    return a > condition.value if condition.op is Op.ABOVE else a < condition.value
