"""Proof, at boot, that the hooks stand where they are said to: in the loaded model itself, before the first request.

``featurehub.engine.tower`` says how a model hands on its stream. Nothing here believes it. The loaded model runs over a
few tokens (``featurehub.engine.trial``), none of which sees another, so that each hook point has tokens of its own:

1. As it is. The op records x at every hook point; torch hooks record what layers were given and gave.
2. Under an edit of weight 0 at every hook point: not a bit of the result may change, but for those that change from
   run to run, which some kernels of GPUs do not repeat.
3. Edited: at hook point p the op adds δ to the stream of p's tokens.
4. Computed anew: what reads the stream behind p is given x + δ, alone, for p's tokens. That is the next layer or the
   final norm; behind attn_out, mlp_out and final_norm, which are no streams, that output + δ; what takes z or mlp_act,
   or is given attn_in or mlp_in, gets that + δ. Behind the reading layer the stream must be that of 3, and in the end
   the result. If they are not, then x was not the stream, or the op's edit does not arrive. Rounded streams drift apart
   from layer to layer, so that the result alone would tell little.
5. attn_out, resid_mid and mlp_out: they add up to what leaves the layer less what entered it.
6. z and mlp_act: the op saw what the output projection took, and the projection made of it what attention, or the MLP,
   makes. The edit of 3 leaves the stream before the layer as it was.
7. attn_in and mlp_in: the op saw what attention, or the MLP, was given. That is the stream before the layer, or the one
   between the two, behind a norm of any weights; or it is this stream itself. The edit of 3 leaves the stream before
   the layer as it was, and changes what attention adds at attn_in, but not at mlp_in. router: the same of what the
   router is given; and the op saw what it made.
8. final_norm: the op saw a norm, of any weights, of the stream behind the last layer.
9. The final norm as the row has it, and the head, give the model's own result and logits.

Errors are relative; those of 4, to the size of the edit's effect.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.model_executor.layers.linear import LinearBase

from featurehub.artifacts.manifest import TAKEN, HookPoint, Site
from featurehub.engine.passes import (
    EACH,
    OF_PARTS,
    Outcome,
    Recording,
    as_it_is,
    is_inside,
    rows_of,
    run_anew,
    run_edited,
)
from featurehub.engine.readout import epsilons_of, head_error, norm_error, relative, scaled_error
from featurehub.engine.tower import Tower
from featurehub.engine.trial import Trial
from featurehub.errors import UnsupportedModel

__all__ = ["FOUND", "Finding", "findings", "prove"]

logger = init_logger(__name__)

EXACT = 1e-3
"""The largest error that passes where the stream is float32."""
ROUNDED, DRIFTED = 0.05, 0.25
"""The same where it is rounded to 16 bits: behind one layer, and behind all of them."""
DOSE = 0.3
"""‖δ‖ relative to the longest x."""
FEWEST = 8
"""Tokens that differ enough to tell a norm of one stream from that of another."""


class Finding(NamedTuple):
    """What one check gave.

    Attributes:
        point: Name of the hook point; "" for the model as a whole.
        check: What was compared.
        error: By how much it is off.
        bound: The largest error that passes.
    """

    point: str
    check: str
    error: float
    bound: float

    @property
    def passes(self) -> bool:
        """Whether the error is within the bound. One that is no number does not pass."""
        return self.error <= self.bound


FOUND: list[Finding] = []
"""What was found in this process's model."""


def prove(model: nn.Module, tower: Tower, points: Sequence[HookPoint], config: VllmConfig) -> None:
    """Runs all checks, logs what they give and keeps it in ``FOUND``.

    Args:
        model: vLLM's model with its hooks, loaded.
        tower: Its layers, as they are taken to be made.
        points: Its hook points.
        config: vLLM's configuration.

    Raises:
        UnsupportedModel: A check fails; the message names the hook point and the figure.
    """
    began = time.perf_counter()
    try:
        FOUND[:] = findings(model, tower, points, config)
    except UnsupportedModel:
        raise
    except Exception as error:  # What is not proven is not served, whatever kept it from being proven.
        raise UnsupportedModel(
            f"featurehub's check of {type(model).__name__} at boot ended with {type(error).__name__}: {error}. Its "
            "layers may hand on something else than one stream of the model's width"
        ) from error
    for each in FOUND:
        if not each.passes:
            where = f"hook point {each.point}" if each.point else "the model"
            raise UnsupportedModel(
                f"{where} of this {type(model).__name__} fails featurehub's check at boot: {each.check} is off by "
                f"{each.error:.3g}, and {each.bound:g} is the most that passes. An SAE there would read or write "
                "another tensor than it was trained on, so the engine does not start; try another hook point"
            )
    worst = max((each.error for each in FOUND if each.bound), default=0.0)
    logger.info(
        "featurehub's check of %s: the largest relative error is %.2g (%.1f s)",
        ", ".join(map(str, points)), worst, time.perf_counter() - began,
    )  # fmt: skip


@torch.inference_mode()
def findings(model: nn.Module, tower: Tower, points: Sequence[HookPoint], config: VllmConfig) -> Iterator[Finding]:
    """What each check gives, whether it passes or not; with the arguments of ``prove``."""
    trial = Trial(model, config, max(len(points) * EACH + 1, FEWEST))
    exact = config.model_config.dtype == torch.float32
    bound = EXACT if exact else ROUNDED
    own = as_it_is(trial, tower, points)
    for point in points:
        yield Finding(str(point), "the number of times that its hook runs", abs(len(own.seen[str(point)]) - 1), 0)
        if len(own.seen[str(point)]) != 1:
            return
    nothing = {str(point): torch.zeros_like(own.seen[str(point)][0]) for point in points}
    again, still = run_edited(trial, tower, points, {}), run_edited(trial, tower, points, nothing)
    yield Finding("", "the result under an edit of weight 0", *(largest(own, each) for each in (still, again)))
    yield from edits(trial, tower, points, own, (bound, EXACT if exact else DRIFTED))
    for point in points:
        if is_inside(point):
            yield Finding(str(point), "the sum of what its layer adds", adds_up(point, own), bound)
        if point.site in TAKEN:
            yield from takes(point, own, bound)
        if point.site in OF_PARTS:
            yield from is_given(point, tower, own, bound)
        if point.site is Site.FINAL_NORM:
            eps = epsilons_of(tower.final_norm(point))
            error = scaled_error(own.seen[str(point)][0], own.outcome.left[tower.last], eps, raw=False)
            yield Finding(str(point), "the norm of the stream", error, bound)
    yield from readout(trial, tower, own, bound)


def edits(
    trial: Trial, tower: Tower, points: Sequence[HookPoint], own: Recording, bounds: tuple[float, float]
) -> Iterator[Finding]:
    """Steps 3 and 4."""
    deltas = {str(point): delta_at(rows_of(at), own.seen[str(point)][0]) for at, point in enumerate(points)}
    edited, anew = run_edited(trial, tower, points, deltas), run_anew(trial, tower, points, own, deltas)
    for at, point in enumerate(points):
        plain, own_rows = own.outcome, rows_of(at)
        for check, streams, bound in (
            ("the stream under an edit", [each.behind(point)[own_rows] for each in (plain, edited, anew)], bounds[0]),
            ("the result under an edit", [each.result[own_rows] for each in (plain, edited, anew)], bounds[1]),
        ):
            yield Finding(str(point), check, missed(*streams), bound)
        effect = (edited.behind(point) - plain.behind(point))[own_rows].norm()
        if point.site in TAKEN | OF_PARTS and (before := plain.before(point)) is not None:
            error = ((edited.left[point.layer - 1] - before)[own_rows].norm() / effect).item()
            yield Finding(str(point), "the stream before its layer under an edit", error, bounds[0])
        if point.site in OF_PARTS:
            moved = ((edited.attention[point.layer] - plain.attention[point.layer])[own_rows].norm() / effect).item()
            error = moved if point.site is not Site.ATTN_IN else 0.0 if moved > bounds[0] else math.inf
            yield Finding(str(point), "what attention adds under an edit", error, bounds[0])


def missed(plain: Tensor, edited: Tensor, anew: Tensor) -> float:
    """How far the edit is from where it should have led, relative to how far it led."""
    effect = (edited - plain).norm().item()
    return (edited - anew).norm().item() / effect if effect > 0 else math.inf


def delta_at(rows: slice, x: Tensor) -> Tensor:
    """δ for some rows of a stream, and zeros for the others."""
    generator = torch.Generator().manual_seed(rows.start)
    directions = torch.randn(x[rows].shape, generator=generator).to(x.device)
    delta = torch.zeros_like(x)
    delta[rows] = directions * (DOSE * x.norm(dim=-1).max() / directions.norm(dim=-1, keepdim=True))
    return delta


def adds_up(point: HookPoint, own: Recording) -> float:
    """Step 5: how much is missing, relative to what the layer adds. What the op saw stands in for its own module."""
    at, seen = point.layer, own.seen[str(point)][0]
    attention = seen if point.site is Site.ATTN_OUT else own.outcome.attention[at]
    mlp = seen if point.site is Site.MLP_OUT else own.mlp[at]
    entered, left = own.entered[at], own.outcome.left[at]
    change = left - entered
    missing = [change - attention - mlp]
    if point.site is Site.RESID_MID:
        missing += [seen - entered - attention, left - seen - mlp]
    return max(relative(each, change) for each in missing)


def takes(point: HookPoint, own: Recording, bound: float) -> Iterator[Finding]:
    """Step 6, but for the edit."""
    name = str(point)
    given, made, whole = own.taken[name]
    yield Finding(name, "what its module takes", relative(own.seen[name][0] - given, given), bound)
    yield Finding(name, "what its module makes of it", relative(made - whole, whole), bound)


def is_given(point: HookPoint, tower: Tower, own: Recording, bound: float) -> Iterator[Finding]:
    """Step 7, but for the edit. The stream between the two is found from either side, and what factor is on the way."""
    (given, *made), seen, at = own.taken[str(point)], own.seen[str(point)][0], point.layer
    if point.site is Site.ROUTER:
        yield Finding(str(point), "what its module makes", relative(seen - made[0], made[0]), bound)
    else:
        yield Finding(str(point), "what its module is given", relative(seen - given, given), bound)
    entered, left, attention, mlp = own.entered[at], own.outcome.left[at], own.outcome.attention[at], own.mlp[at]
    streams = [entered]
    if point.site is not Site.ATTN_IN:
        added = torch.stack([attention.flatten(), mlp.flatten()], dim=1)
        factors = torch.linalg.lstsq(added, (left - entered).flatten()[:, None]).solution
        streams += [entered + factors[0] * attention, left - mlp]
    # A norm itself, taken for the part that it stands before, would be given the stream.
    raw = any(isinstance(each, LinearBase) for each in tower.module(point, point.site).modules())
    epsilons = epsilons_of(tower.layers[at])
    error = min(scaled_error(given, each, epsilons, raw) for each in streams)
    yield Finding(str(point), "the norm of the stream", error, bound)


def readout(trial: Trial, tower: Tower, own: Recording, bound: float) -> Iterator[Finding]:
    """Step 9, as far as a row says how this model reads out, and it has a final norm and a head with weights here."""
    if tower.row is None:
        return
    result = own.outcome.result
    norm = norm_error(own.outcome.left[tower.last], own.readers[0], tower.row.norm, result) if own.readers else None
    if norm is not None:
        yield Finding("", "the final norm of the stream", norm, bound)
    head = head_error(trial.model, result, trial.vllm_config.model_config.dtype)
    if head is not None:
        yield Finding("", "the read-out into logits", head, bound)


def largest(own: Recording, other: Outcome) -> float:
    """The largest difference between the results of two runs."""
    return (other.result - own.outcome.result).abs().max().item()
