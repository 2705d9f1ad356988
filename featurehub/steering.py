"""The edit equation, once and naively: the twin that every fast path is tested against.

For a token with residual stream x (float32 from here on) at a hook point, and a request's edits k = 1 … K there:

1. a_k  = act(W_enc[k] · (x − b_dec) + b_enc[k], θ_k)      only the K edited latents are encoded
2. Δ    = Σ_k (target_k(a_k) − a_k) · W_dec[k]              pin: target = value; mul: value · a_k; ablate: 0
3. Δ   += Σ_k value_k · W_steer[k]                          nudge; W_dec[k] where the SAE has no steering vectors
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
    """What steering made of one token.

    Attributes:
        x: The edited stream x', [d_model], in float32.
        dose: ‖x' − x‖ / ‖x‖, of all edits together.
        clipped: Whether the guard scaled Δ down.
    """

    x: Float[Tensor, " d_model"]
    dose: float
    clipped: bool


def steer_token(
    x: Float[Tensor, " d_model"], dictionaries: Mapping[str, Dictionary], edits: Sequence[LatentEdit], dose_max: float
) -> EditResult:
    """Applies edits to the stream of one token, in float32.

    Args:
        x: The stream, [d_model], of any float type.
        dictionaries: The SAEs of one hook point, by the name that the edits give them.
        edits: The edits in force at this token.
        dose_max: Bound on ‖Δ‖/‖x‖.
    """
    x = x.float()
    delta = torch.zeros_like(x)
    for edit in edits:
        dictionary = dictionaries[edit.sae]
        rows = dictionary.nudges if edit.mode is Mode.NUDGE else dictionary.W_dec
        delta += change(x, dictionary, edit) * rows[edit.latent]
    size, norm = float(delta.norm()), float(x.norm())
    if size == 0.0:
        return EditResult(x, 0.0, False)
    scale = min(1.0, dose_max * norm / size)
    return EditResult(x + scale * delta, scale * size / norm if norm else 0.0, scale < 1.0)


def change(x: Float[Tensor, " d_model"], dictionary: Dictionary, edit: LatentEdit) -> float:
    """How much the edit changes its latent's activation."""
    if edit.mode is Mode.NUDGE:
        return edit.value
    a = activation(x, dictionary, edit.latent)
    target = {Mode.PIN: edit.value, Mode.MUL: edit.value * a, Mode.ABLATE: 0.0}[edit.mode]
    return target - a


def activation(x: Float[Tensor, " d_model"], dictionary: Dictionary, latent: int) -> float:
    """One latent's activation for the stream ``x`` of a token, [d_model]."""
    z = (x.float() - dictionary.b_dec) @ dictionary.W_enc[latent] + dictionary.b_enc[latent]
    return float(dictionary.magnitude(z, latent)) if z > dictionary.threshold[latent] else 0.0


class Reference:
    """One request's steering, token by token.

    Call ``at`` for every position at every hook point, in the order in which the model computes them.

    Args:
        steering: What the request asks for.
        dictionaries: SAEs by hook point, then by the name that the steering gives them.
        prompt_len: Number of tokens in the prompt.
    """

    def __init__(
        self, steering: Steering, dictionaries: Mapping[str, Mapping[str, Dictionary]], prompt_len: int
    ) -> None:
        self.steering = steering
        self.dictionaries = dictionaries
        self.prompt_len = prompt_len
        self.fired: defaultdict[Condition, set[int]] = defaultdict(set)

    def at(self, point: str, position: int, x: Float[Tensor, " d_model"]) -> EditResult:
        """Steers one token at one hook point.

        Args:
            point: Name of the hook point.
            position: The token's position in the request.
            x: The token's stream there, [d_model].
        """
        here = self.dictionaries[point]
        for condition in self.steering.conditions():
            if condition.sae in here and is_met(condition, activation(x, here[condition.sae], condition.latent)):
                self.fired[condition].add(position)
        edits = [e for e in self.steering.edits if e.sae in here and self.holds(e.when, position)]
        return steer_token(x, here, edits if self.applies(position) else [], self.steering.dose_max)

    def applies(self, position: int) -> bool:
        """Whether the edits apply to a position, if their conditions hold there."""
        first, stop = self.steering.bounds(self.prompt_len)
        return first <= position < stop

    def covers(self, positions: Positions, position: int) -> bool:
        """Whether a position is one of those that are meant."""
        first, last = positions.bounds(self.prompt_len)
        return first <= position < last

    def holds(self, when: When | None, position: int) -> bool:
        """Whether a condition of an edit or abort holds at a position; None always does."""
        if when is None:
            return True
        return (any if when.any else all)(self.is_true(condition, position) for condition in when.conditions)

    def is_true(self, condition: Condition, position: int) -> bool:
        """Whether a single condition holds at a position."""
        fired = self.fired[condition]
        return any(each <= position for each in fired) if condition.so_far else position in fired

    def event(self, position: int) -> str | None:
        """Name of the abort that the token at this position causes; call it after the last hook point."""
        for abort in self.steering.aborts:
            if self.covers(abort.positions, position) and self.holds(abort.when, position):
                return abort.event
        return None


def is_met(condition: Condition, a: float) -> bool:
    return a > condition.value if condition.op is Op.ABOVE else a < condition.value
