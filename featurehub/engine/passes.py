"""The forward passes that the self-check compares: as the model is, edited by the op, and computed anew without it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from featurehub.artifacts.manifest import GIVEN, TAKEN, HookPoint, Site
from featurehub.engine.hook import HOOKS, stream, write
from featurehub.engine.tower import Taker, Tower
from featurehub.engine.trial import Call, Trial

__all__ = ["EACH", "OF_PARTS", "Outcome", "Recording", "as_it_is", "is_inside", "rows_of", "run_anew", "run_edited"]


OF_PARTS = GIVEN | {Site.ROUTER}
"""Sites whose module is given a norm of the stream."""
EACH = 2
"""Tokens of a hook point: a stream may be all zeros for a token, such as one for padding."""


def rows_of(at: int) -> slice:
    """The tokens of a hook point, by its index."""
    return slice(EACH * at, EACH * (at + 1))


def given_to(tower: Tower, layer: int, call: Call) -> list[Tensor]:
    """The tensors whose sum is the stream that a layer is given; the first one is given it alone."""
    return list(call.streams.values())[: 1 + (tower.pair(layer) and layer > 0)]


def made_by(tower: Tower, layer: int, call: Call) -> list[Tensor]:
    """The tensors whose sum is the stream that a layer hands on."""
    return list(call.streams.values())[: 1 + tower.pair(layer)]


def source(tower: Tower, point: HookPoint) -> nn.Module:
    """The module whose output is added to the stream at, or right before, a hook point inside a layer; or the final
    norm, at it."""
    return tower.module(point, Site.ATTN_OUT if point.site is Site.RESID_MID else point.site)


def outside(tower: Tower, model: nn.Module) -> Iterator[nn.Module]:
    """Modules that are neither in a layer nor around one."""
    inside = set(tower.layers.modules())
    return (each for each in model.modules() if inside.isdisjoint(each.modules()))


class Outcome(NamedTuple):
    """What came of a run, [tokens, d_model] each.

    Attributes:
        left: By layer, the stream that it handed on.
        attention: By layer, the output of the module that attention adds, where a hook point needs it.
        result: What the model returned.
    """

    left: dict[int, Tensor]
    attention: dict[int, Tensor]
    result: Tensor

    def before(self, point: HookPoint) -> Tensor | None:
        """The stream before the layer of a hook point; None before the first."""
        return self.left.get(point.layer - 1)

    def behind(self, point: HookPoint) -> Tensor:
        """The stream behind the layer that reads at a hook point; the result where no layer does."""
        return self.left.get(reader_of(point), self.result)


class Recording(NamedTuple):
    """What was seen as the model ran as it is.

    Attributes:
        seen: By hook point, what the op saw, call by call.
        entered: By layer, the stream that it was given.
        mlp: By layer, the output of the module that the MLP adds.
        taken: By hook point whose site is in ``TAKEN``, what its module took, what it made of it, and what the part of
            the layer that it ends made. By another in ``OF_PARTS``, what its module was given, and what a router made.
        readers: Modules outside of the layers that were given a stream when the last layer had run.
        outcome: What came of it.
    """

    seen: Mapping[str, list[Tensor]]
    entered: dict[int, Tensor]
    mlp: dict[int, Tensor]
    taken: Mapping[str, list[Tensor]]
    readers: list[nn.Module]
    outcome: Outcome


def reader_of(point: HookPoint) -> int:
    """The layer that reads the stream at a hook point; one more than the last, for what comes behind all of them."""
    return point.layer + (point.site in (Site.RESID_POST, Site.FINAL_NORM))


def as_it_is(trial: Trial, tower: Tower, points: Sequence[HookPoint]) -> Recording:
    """Step 1."""
    entered, mlp = dict[int, Tensor](), dict[int, Tensor]()
    readers: list[nn.Module] = []
    taken = {str(point): list[Tensor]() for point in points if point.site in TAKEN | OF_PARTS}
    with trial.hanging(), probing(trial, points, {}) as seen:
        left, attention = watch(trial, tower, points)
        for layer in sorted({0, *(point.layer for point in points)}):
            trial.before(tower.layers[layer], lambda call, i=layer: keep(trial, entered, i, given_to(tower, i, call)))
        for point in points:
            if point.site in TAKEN:
                watch_taker(trial, tower.taker(point), taken[str(point)])
            if point.site in OF_PARTS:
                watch_part(trial, tower, point, taken[str(point)])
            if is_inside(point) or point.site in OF_PARTS:
                keep_made(trial, tower, point, Site.MLP_OUT, mlp)
        for module in outside(tower, trial.model):
            trial.before(
                module, lambda call, m=module: readers.append(m) if call.streams and tower.last in left else None
            )
        result = trial.run()
    return Recording(seen, entered, mlp, taken, readers, Outcome(left, attention, result))


def watch_taker(trial: Trial, taker: Taker, taken: list[Tensor]) -> None:
    """Records what the module of a site takes and makes, and what its part of the layer makes."""
    trial.before(taker.module, lambda call: taken.append(sum_of(trial, call.first)), taker.width)
    for module in (taker.module, taker.part):
        trial.after(module, lambda call: taken.append(sum_of(trial, call.first)))


def watch_part(trial: Trial, tower: Tower, point: HookPoint, taken: list[Tensor]) -> None:
    """Records what a part of a layer is given, and what a router makes."""
    module = tower.module(point, point.site)
    trial.before(module, lambda call: taken.append(sum_of(trial, call.first)))
    if point.site is Site.ROUTER:
        trial.after(module, lambda call: taken.append(sum_of(trial, call.first)), tower.width(point))


def watch(trial: Trial, tower: Tower, points: Sequence[HookPoint]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Where the streams will be that the layers hand on: those that read at hook points, those around, and the last.
    And what attention adds in layers with a hook point inside."""
    left, attention = dict[int, Tensor](), dict[int, Tensor]()
    own = {point.layer for point in points}
    layers = {tower.last, *own, *(layer - 1 for layer in own), *map(reader_of, points)}
    for layer in sorted(layers & set(range(tower.last + 1))):
        trial.after(tower.layers[layer], lambda call, i=layer: keep(trial, left, i, made_by(tower, i, call)))
    for point in points:
        if is_inside(point) or point.site in OF_PARTS:
            keep_made(trial, tower, point, Site.ATTN_OUT, attention)
    return left, attention


def keep_made(trial: Trial, tower: Tower, point: HookPoint, site: Site, rows: dict[int, Tensor]) -> None:
    """Records what is added at a site of a hook point's layer."""
    trial.after(tower.module(point, site), lambda call, i=point.layer: keep(trial, rows, i, call.first))


def keep(trial: Trial, rows: dict[int, Tensor], layer: int, streams: Sequence[Tensor]) -> None:
    rows[layer] = sum_of(trial, streams)


def is_inside(point: HookPoint) -> bool:
    """Whether a hook point lies inside its layer, at the stream or at what is added to it."""
    return point.site in (Site.ATTN_OUT, Site.RESID_MID, Site.MLP_OUT)


def run_edited(trial: Trial, tower: Tower, points: Sequence[HookPoint], deltas: Mapping[str, Tensor]) -> Outcome:
    """Steps 2 and 3: the op adds these rows, [tokens, d_model], at the hook points."""
    with trial.hanging(), probing(trial, points, deltas):
        left, attention = watch(trial, tower, points)
        return Outcome(left, attention, trial.run())


def run_anew(
    trial: Trial, tower: Tower, points: Sequence[HookPoint], own: Recording, deltas: Mapping[str, Tensor]
) -> Outcome:
    """Step 4."""
    behind: dict[HookPoint, tuple[slice, Tensor]] = {}
    with trial.hanging(), probing(trial, points, {}):
        for at, point in enumerate(points):
            rows = rows_of(at)
            reader, x = reader_of(point), own.seen[str(point)][0] + deltas[str(point)]
            if point.site in TAKEN:
                taker, delta = tower.taker(point), deltas[str(point)]
                trial.before(taker.module, lambda call, delta=delta: add(trial, call, delta), taker.width)
                continue
            if point.site is Site.ROUTER:
                router, delta = tower.router(point), deltas[str(point)]
                trial.after(router, lambda call, delta=delta: add(trial, call, delta), router.output_size)
                continue
            if point.site in GIVEN:
                module, delta = tower.module(point, point.site), deltas[str(point)]
                trial.before(module, lambda call, delta=delta: add(trial, call, delta))
                continue
            if is_inside(point) or point.site is Site.FINAL_NORM:
                trial.after(source(tower, point), lambda call, delta=deltas[str(point)]: add(trial, call, delta))
                continue
            if reader > 0:
                trial.follow(tower.layers[reader - 1])
            if reader <= tower.last or own.readers:
                module = tower.layers[reader] if reader <= tower.last else own.readers[0]
                trial.before(module, lambda call, rows=rows, x=x: replace(trial, call, rows, x))
            else:
                behind[point] = rows, x
        left, attention = watch(trial, tower, points)
        result = trial.run()
    for rows, x in behind.values():
        result[rows] = x[rows]
    return Outcome(left, attention, result)


def replace(trial: Trial, call: Call, rows: slice, x: Tensor) -> None:
    """Gives a module rows of x alone: in its first stream, and zeros in others that the layer before made."""
    for at, (key, given) in enumerate(list(call.streams.items())):
        if at == 0 or trial.is_followed(given):
            call.put(key, trial.with_rows(given, rows, x[rows] if at == 0 else torch.zeros_like(x[rows])))


def add(trial: Trial, call: Call, delta: Tensor) -> None:
    """Adds rows to the first stream that a module is given, or of its output."""
    key, given = next(iter(call.streams.items()))
    call.put(key, (trial.rows(given) + delta).to(given.dtype).view_as(given))


def sum_of(trial: Trial, streams: Sequence[Tensor]) -> Tensor:
    """[tokens, d_model] in float32; NaN where there is none."""
    return sum(map(trial.rows, streams), start=torch.zeros(())) if streams else torch.full((), math.nan)


class Probe:
    """Stands in the place of a hook: records the stream, and adds rows to it as an edit does.

    Args:
        trial: What runs.
        seen: Where streams are put.
        delta: What is added, [tokens, d_model]; None for nothing.
    """

    def __init__(self, trial: Trial, seen: list[Tensor], delta: Tensor | None) -> None:
        self.trial, self.seen, self.delta = trial, seen, delta

    def run(self, hidden: Tensor, residual: Tensor | None) -> None:
        x = self.trial.rows(stream(hidden, residual, slice(None)))
        self.seen.append(x)
        if self.delta is not None:
            moved = (self.delta != 0).any(-1, keepdim=True)
            write(hidden, residual, slice(None), x + self.delta, moved)


@contextmanager
def probing(
    trial: Trial, points: Sequence[HookPoint] | Mapping[str, Tensor], deltas: Mapping[str, Tensor]
) -> Iterator[dict[str, list[Tensor]]]:
    """Puts probes in the place of the hooks; gives what they see."""
    hooks: dict[str, Any] = HOOKS
    own, seen = dict(hooks), {str(point): list[Tensor]() for point in points}
    hooks.update({name: Probe(trial, streams, deltas.get(name)) for name, streams in seen.items()})
    try:
        yield seen
    finally:
        hooks.clear()
        hooks.update(own)
